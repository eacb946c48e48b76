"""Post-training quantization to int8 by ONNX Runtime."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from nas.evaluation.onnx_export import feed_of
from nas.files import write_bytes
from nas.inputs import Inputs, count_items, split_items
from nas.protocols import Split


@final
@dataclass(frozen=True)
class Int8:
    """Static quantization of weights (per channel) and activations, as QDQ operators.

    Weights use 7 of the 8 bits: on processors without VNNI instructions the products of full-range
    int8 saturate and the accuracy collapses, and the missing bit costs nothing elsewhere.

    Args:
        num_images: Training items that set the activations' ranges, drawn at random, the same ones every time.
    """

    num_images: int = 512
    name: str = "int8"

    def apply(self, source: Path, target: Path, calibration: Split) -> None:
        """Write the int8 copy of the float32 model ``source`` to ``target``."""
        inputs = calibration.sample(self.num_images)
        names = [entry.name for entry in onnx.load(source).graph.input]
        # onnxruntime's tools talk to the root logger about what they do next.
        with tempfile.TemporaryDirectory() as folder, _quiet():
            prepared, quantized = Path(folder, "prepared.onnx"), Path(folder, "quantized.onnx")
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
            write_bytes(target, quantized.read_bytes())


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
