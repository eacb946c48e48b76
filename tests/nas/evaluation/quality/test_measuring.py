from __future__ import annotations

import math

import pytest
import torch
import torchmetrics.functional.classification as metrics
from sklearn.metrics import balanced_accuracy_score, f1_score
from torch import Tensor
from torchmetrics.functional import mean_absolute_error, mean_squared_error

from nas.errors import EvaluationError, ObjectiveError
from nas.evaluation import (
    F1,
    Accuracy,
    BalancedAccuracy,
    CalibrationError,
    ClassIoU,
    MeanAbsoluteError,
    MeanIoU,
    RootMeanSquaredError,
    TopK,
)
from nas.evaluation.quality.measuring import (
    MeasuredQuality,
    collect_statistics,
    measure_statistics,
    rows_at_a_time,
    statistics_of,
)
from nas.inputs import Inputs, InputSpec
from nas.objectives import Bench
from nas.splits import Split
from nas.task import Quality
from nas.testing import check_quality

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(200, 5, generator=GENERATOR)
CLASSES = torch.randint(0, 5, (200,), generator=GENERATOR)
LABELS = torch.randint(0, 2, (200, 5), generator=GENERATOR)
PIXELS = torch.randn(6, 4, 9, 7, generator=GENERATOR)
MASKS = torch.randint(0, 3, (6, 9, 7), generator=GENERATOR, dtype=torch.uint8)  # nothing is of class 3
MASKS[0, :3] = 255


def value(quality: Quality, outputs: Tensor, targets: Tensor) -> float:
    return measure_statistics(quality, statistics_of(quality, outputs, targets)).value


def test_values_are_those_of_torchmetrics_and_scikit_learn() -> None:
    answers = LOGITS.argmax(1)
    expected = {
        Accuracy(): metrics.multiclass_accuracy(LOGITS, CLASSES, 5, average="micro"),
        TopK(2): metrics.multiclass_accuracy(LOGITS, CLASSES, 5, average="micro", top_k=2),
        BalancedAccuracy(): balanced_accuracy_score(CLASSES, answers),
        F1(): f1_score(CLASSES, answers, average="macro"),
        CalibrationError(): metrics.multiclass_calibration_error(LOGITS, CLASSES, 5, n_bins=15),
    }
    for quality, known in expected.items():
        assert value(quality, LOGITS, CLASSES) == pytest.approx(float(known), abs=1e-6), quality
    assert value(F1(), LOGITS, LABELS) == pytest.approx(f1_score(LABELS, LOGITS > 0, average="macro"))
    numbers, truth = LOGITS[:, :2], LOGITS[:, 2:4]
    squared = mean_squared_error(numbers.reshape(-1), truth.reshape(-1), squared=False)
    assert value(RootMeanSquaredError(), numbers, truth) == pytest.approx(float(squared))
    absolute = mean_absolute_error(numbers.reshape(-1), truth.reshape(-1))
    assert value(MeanAbsoluteError(), numbers, truth) == pytest.approx(float(absolute))


QUALITIES = [
    (Accuracy(), LOGITS, CLASSES),
    (TopK(3), LOGITS, CLASSES),
    (BalancedAccuracy(), LOGITS, CLASSES),
    (F1(), LOGITS, CLASSES),
    (CalibrationError(), LOGITS, CLASSES),
    (RootMeanSquaredError("m"), LOGITS, LOGITS.flip(0)),
    (MeanAbsoluteError("m"), LOGITS, LOGITS.flip(0)),
    (MeanIoU(), PIXELS, MASKS),
    (ClassIoU(1), PIXELS, MASKS),
]


@pytest.mark.parametrize(("quality", "outputs", "targets"), QUALITIES, ids=lambda value: str(value)[:24])
def test_a_part_is_a_choice_of_rows(quality: Quality, outputs: Tensor, targets: Tensor) -> None:
    check_quality(quality, outputs, targets)
    rows = torch.tensor([4, 0, 5])
    of_all = statistics_of(quality, outputs, targets)
    part = measure_statistics(quality, of_all[rows.numpy()])
    assert part == measure_statistics(quality, statistics_of(quality, outputs[rows], targets[rows]))
    assert part.repeats == 3
    assert part.unit == quality.objective.unit


@pytest.mark.parametrize(("quality", "outputs", "targets"), QUALITIES, ids=lambda value: str(value)[:24])
def test_nothing_is_measured_of_outputs_that_are_no_numbers(
    quality: Quality, outputs: Tensor, targets: Tensor
) -> None:
    broken = outputs.clone()
    broken[2, 0] = float("nan")
    assert math.isnan(value(quality, broken, targets))


def test_the_spread_is_that_of_a_bootstrap_over_items() -> None:
    right = statistics_of(Accuracy(), LOGITS, CLASSES)
    rate = right.mean()
    assert measure_statistics(Accuracy(), right).spread == math.sqrt(rate * (1 - rate) / 200)
    errors = statistics_of(MeanAbsoluteError(), LOGITS, LOGITS.flip(0))
    expected = errors.std() / math.sqrt(200)  # of a mean
    assert measure_statistics(MeanAbsoluteError(), errors).spread == pytest.approx(expected, rel=0.15)
    overlap = statistics_of(MeanIoU(), PIXELS, MASKS)
    first, again = measure_statistics(MeanIoU(), overlap), measure_statistics(MeanIoU(), overlap)
    assert first == again
    assert 0 < first.spread < 0.1


class Echo:
    """A candidate that answers with its inputs, and remembers how many came at a time."""

    inputs = InputSpec.of_one((4, 9, 7))
    onnx_model = b""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def predict(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        self.counts.append(len(inputs))
        return inputs


def test_outputs_of_a_large_split_are_never_in_memory_together() -> None:
    masks = MASKS.repeat(100, 1, 1)
    split = Split(PIXELS.repeat(100, 1, 1, 1), masks)
    large = Split(torch.zeros(2, 1), torch.zeros(2, 1024, 2048))
    assert (rows_at_a_time(split), rows_at_a_time(large)) == (4096, 1)
    echo = Echo()
    bench = Bench(split, thorough=False, calibration={})
    (measured,) = MeasuredQuality(MeanIoU()).measure([echo], bench)
    assert measured.value == pytest.approx(value(MeanIoU(), PIXELS, MASKS))
    assert collect_statistics(MeanIoU(), echo, split).shape == (600, 8)


def test_a_quality_of_another_task_is_told() -> None:
    with pytest.raises(
        EvaluationError, match=r"shape \(6, 1, 9, 7\) for 6 items: a tensor of shape \(n, k\)"
    ):
        statistics_of(Accuracy(), PIXELS, MASKS)
    with pytest.raises(ObjectiveError, match="k=0"):
        TopK(0)
