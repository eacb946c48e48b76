"""Post-training quantization to int8 by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from nas.checks import check_integers
from nas.choices import Option
from nas.compression.onnx_files import FLOAT_BITS, RoundingPass, check_bits, onnx_of, with_file
from nas.compression.onnx_int8 import calibration_batches, quantize
from nas.compression.pipeline import Lab, Model
from nas.compression.reduced_range import check_reduced_range, choose_reduced_range
from nas.errors import StudyError


@final
@dataclass(frozen=True)
class Int8(RoundingPass):
    """Static quantization of weights (per channel) and activations to int8, as QDQ operators.

    Args:
        num_images: Training items that set the activations' ranges, drawn at random, the same ones every time.
        bits: 8; or (8, 32), a choice whether to do it at all.
        reduce_range: Whether weights use 7 of the 8 bits; None where this machine's processor says so. On those
            without VNNI instructions the products of full-range int8 saturate and the accuracy collapses.
        name: For file names, tables and choices.

    Raises:
        StudyError: a setting is out of range.
    """

    num_images: int = 512
    bits: int | tuple[int, ...] = 8
    reduce_range: bool | None = None
    name: str = "int8"

    def __post_init__(self) -> None:
        check_bits("Int8", self.bits, (8, FLOAT_BITS))
        check_integers(self, "num_images")
        if self.num_images < 1:
            raise StudyError(f"Int8 has num_images={self.num_images}: an item or more is needed.")
        check_reduced_range("Int8", self.reduce_range)

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the int8 copy of a float32 file.

        Raises:
            SpaceError: the options are others than those of its choice.
            ExportError: ONNX Runtime can't quantize the network.
        """
        if self.choose_bits(options) == FLOAT_BITS:
            return model
        batches = calibration_batches(lab.train, self.num_images)
        made = quantize(onnx_of(model), batches, reduce_range=choose_reduced_range(self.reduce_range))
        return with_file(model, made, "quantized to int8")
