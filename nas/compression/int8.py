"""Post-training quantization to int8 by ONNX Runtime."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from nas.evaluation.onnx_export import INPUT
from nas.files import write_bytes
from nas.protocols import Split


@final
@dataclass(frozen=True)
class Int8:
    """Static quantization of weights (per channel) and activations, as QDQ operators.

    Weights use 7 of the 8 bits: on processors without VNNI instructions the products of full-range
    int8 saturate and the accuracy collapses, and the missing bit costs nothing elsewhere.

    Args:
        num_images: Training images that set the activations' ranges, drawn at random, the same ones every time.
    """

    num_images: int = 512
    name: str = "int8"

    def apply(self, source: Path, target: Path, calibration: Split) -> None:
        """Write the int8 copy of the float32 model ``source`` to ``target``."""
        images = calibration.sample(self.num_images).numpy()
        # onnxruntime's tools talk to the root logger about what they do next.
        with tempfile.TemporaryDirectory() as folder, _quiet():
            prepared, quantized = Path(folder, "prepared.onnx"), Path(folder, "quantized.onnx")
            quant_pre_process(source, prepared)
            quantize_static(
                prepared,
                quantized,
                _Reader(images),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
            )
            write_bytes(target, quantized.read_bytes())


@final
class _Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no types
    def __init__(self, images: np.ndarray) -> None:
        self._batches: Iterator[np.ndarray] = iter(np.array_split(images, max(1, len(images) // 64)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


class _quiet:  # noqa: N801 - a context manager, used like a function
    def __enter__(self) -> None:
        self._level = logging.root.level
        logging.root.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        logging.root.setLevel(self._level)
