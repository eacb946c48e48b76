"""Peaks are compared with sums by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.compression.onnx_int8 import quantize
from nas.errors import StudyError
from nas.evaluation import PeakMemory
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.onnx_static import static_graph
from nas.evaluation.peak_memory import peak_values
from nas.testing import check_measured_objective

SHAPE = (1, 8, 8)  # 64 numbers


class Residual(nn.Module):
    """64 numbers become 256; these are kept beside 512 in a branch that gives 256 back."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.wide = nn.Conv2d(4, 8, 3, padding=1)
        self.narrow = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        kept = self.stem(images).relu()
        return kept + self.narrow(self.wide(kept).relu())


def chain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1), nn.Flatten()
    )


@pytest.mark.parametrize(
    ("module", "in_place", "peak"),
    [
        (chain(), True, 256 + 128),  # the second convolution
        (chain(), False, 256 + 256),  # the activation beside what it reads
        (Residual(), True, 256 + 512 + 256),  # the last convolution, and what is kept
        (Residual(), False, 256 + 512 + 512),  # the activation of the branch, and what is kept
        (nn.Flatten(), True, 64),  # a view
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), True, 64 + 10),
    ],
)
def test_peaks_by_hand(module: nn.Module, in_place: bool, peak: int) -> None:
    assert peak_values(static_graph(export_onnx(module.eval(), SHAPE)), in_place=in_place) == peak


class Both(nn.Module):
    """An activation's input is read again, so that it can't be written over."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        made = self.body(images)
        return made.sigmoid() * made


def test_what_is_read_again_is_not_written_over() -> None:
    assert peak_values(static_graph(export_onnx(Both().eval(), SHAPE)), in_place=True) == 512


def test_an_int8_file_holds_as_many_numbers_as_the_float_one() -> None:
    model = export_onnx(Residual().eval(), SHAPE)
    images = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(0))
    small = quantize(model, [images], reduce_range=True)
    peaks = [peak_values(static_graph(one), in_place=True) for one in (model, small)]
    assert peaks[0] == peaks[1]


def test_bytes_are_values_times_their_width() -> None:
    check_measured_objective(PeakMemory(), image_shape=SHAPE)
    check_measured_objective(PeakMemory(bytes_per_value=1, in_place=False), image_shape=SHAPE)


@pytest.mark.parametrize(
    "settings",
    [{"bytes_per_value": 0}, {"bytes_per_value": 1.5}, {"in_place": 1}, {"in_place": None}],
)
def test_settings_without_sense_are_refused(settings: dict[str, Any]) -> None:
    (name, value) = next(iter(settings.items()))
    with pytest.raises(StudyError, match=f"{name}={value}"):
        PeakMemory(**settings)
