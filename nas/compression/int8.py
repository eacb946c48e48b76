"""Post-training quantization to int8 by ONNX Runtime."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from nas.choices import Option
from nas.compression.pipeline import Lab, Model
from nas.compression.settings import check_bits, setting, setting_choices
from nas.evaluation.onnx_export import feed_of
from nas.inputs import Inputs, count_items, split_items
from nas.space import SearchSpace


@final
@dataclass(frozen=True)
class Int8:
    """Static quantization of weights (per channel) and activations to int8, as QDQ operators.

    Weights use 7 of the 8 bits: on processors without VNNI instructions the products of full-range
    int8 saturate and the accuracy collapses, and the missing bit costs nothing elsewhere.

    Args:
        num_images: Training items that set the activations' ranges, drawn at random, the same ones every time.
        bits: 8; or options of the choice ``int8.bits``, such as ``(8, 32)``, where 32 leaves a network as it is.
        name: Of the pass.

    Raises:
        StudyError: other bits are asked for.
    """

    num_images: int = 512
    bits: int | tuple[int, ...] = 8
    name: str = "int8"
    works_on: Literal["module", "file"] = "file"
    trains: bool = False

    def __post_init__(self) -> None:
        check_bits(self.name, self.bits, (8, 32))

    def choices(self) -> SearchSpace:
        """Return the choice of bits, where there are several."""
        return setting_choices(self.name, bits=self.bits)

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the int8 copy of a float32 file."""
        if setting(self.name, "bits", self.bits, options) == 32:
            return model
        assert model.onnx is not None, "a pass on the file is given one"
        quantized = _quantized(model.onnx, lab.train.sample(self.num_images))
        return replace(model, module=None, onnx=quantized, applied=(*model.applied, "quantized to int8"))


def _quantized(model: bytes, inputs: Inputs) -> bytes:
    names = [entry.name for entry in onnx.load_model_from_string(model).graph.input]
    # onnxruntime's tools talk to the root logger about what they do next.
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, prepared, quantized = (
            Path(folder, f"{name}.onnx") for name in ("source", "prepared", "int8")
        )
        source.write_bytes(model)
        quant_pre_process(source, prepared)
        quantize_static(
            prepared,
            quantized,
            _Reader(names, inputs),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
        return quantized.read_bytes()


@final
class _Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no types
    def __init__(self, names: Sequence[str], inputs: Inputs) -> None:
        size = -(-count_items(inputs) // max(1, count_items(inputs) // 64))
        self._batches = (feed_of(names, batch) for batch in split_items(inputs, size))

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


class _quiet:  # noqa: N801 - a context manager, used like a function
    def __enter__(self) -> None:
        self._level = logging.root.level
        logging.root.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        logging.root.setLevel(self._level)
