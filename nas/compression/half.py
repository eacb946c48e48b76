"""Half precision: numbers of 16 bits in the file, or in the whole network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from nas.checks import failing_as
from nas.choices import Option
from nas.compression.onnx_files import (
    FLOAT_BITS,
    Packed,
    RoundingPass,
    check_bits,
    onnx_of,
    pack_weights,
    with_file,
)
from nas.compression.onnx_int8 import quiet_log
from nas.compression.pipeline import Lab, Model
from nas.errors import ExportError

with quiet_log():
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

_FEWEST = 64
"""Fewest numbers of a tensor to store in half: with fewer, the operator that unpacks them takes what they save."""
_LARGEST = float(np.finfo(np.float16).max)


@final
@dataclass(frozen=True)
class Half(RoundingPass):
    """Weights of float16: half the bytes, and on a CPU no gain in speed.

    They are stored with casts to float32, which ONNX Runtime does once, as it opens the file, and everything is
    computed in float32. ``computes`` converts the whole network instead, for devices that compute in float16, such
    as GPUs and phones; inputs and outputs stay float32. ONNX Runtime's CPU kernels don't: there it runs 1.6 times as
    long.

    Args:
        bits: 16; or (16, 32), a choice whether to do it at all.
        computes: Whether everything is computed in float16 too.
        name: For file names, tables and choices.

    Raises:
        StudyError: a setting is something else.
    """

    bits: int | tuple[int, ...] = 16
    computes: bool = False
    name: str = "half"

    def __post_init__(self) -> None:
        check_bits("Half", self.bits, (16, FLOAT_BITS))

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the file in float16; as it is where no weight is stored so.

        Raises:
            SpaceError: the options are others than those of its choice.
            ExportError: it can't be converted.
        """
        if self.choose_bits(options) == FLOAT_BITS:
            return model
        made = onnx.load_model_from_string(onnx_of(model))
        if self.computes:
            advice = "store weights alone in float16, with computes=False"
            with quiet_log(), failing_as(ExportError, "the network can't be computed in float16", advice):
                made = convert_float_to_float16(made, keep_io_types=True)
                OnnxModel(made).topological_sort()  # it leaves its casts at the end
            return with_file(model, made.SerializeToString(), f"{self.name}: computed in float16")
        if not pack_weights(made.graph, _in_half):
            return model
        return with_file(model, made.SerializeToString(), f"{self.name}: weights stored as float16")


def _in_half(name: str, values: np.ndarray[Any, Any]) -> Packed | None:
    """Return a tensor as float16, unless it is small or holds what float16 can't."""
    if values.size < _FEWEST or not np.abs(values).max() <= _LARGEST:
        return None
    stored = f"{name}.float16"
    cast = helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT)
    return Packed([numpy_helper.from_array(values.astype(np.float16), stored)], [cast])
