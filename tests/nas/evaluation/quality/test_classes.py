from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from nas.errors import EvaluationError
from nas.evaluation import Accuracy
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objectives import Bench
from nas.splits import Split
from nas.testing import check_measured_objective


@dataclass
class Answers:
    """A candidate that says what it is told to."""

    logits: Tensor
    onnx_model: bytes = b""
    image_shape: tuple[int, int, int] = (1, 2, 2)

    def predict(self, images: Tensor) -> Tensor:
        return self.logits[: len(images)]


def bench(labels: list[int]) -> Bench:
    return Bench(
        Split(torch.zeros(len(labels), 1, 2, 2), torch.tensor(labels)), thorough=False, calibration={}
    )


def one_hot(classes: list[int]) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), 3).float()


@pytest.mark.parametrize(
    ("answers", "labels", "rate"),
    [([0, 1, 2, 0], [0, 1, 2, 0], 1.0), ([0, 1, 2, 0], [1, 2, 0, 1], 0.0), ([0, 1, 2, 0], [0, 1, 0, 1], 0.5)],
)
def test_accuracy_is_the_share_of_right_answers(answers: list[int], labels: list[int], rate: float) -> None:
    measured = MeasuredQuality(Accuracy()).measure([Answers(one_hot(answers))], bench(labels))[0]
    assert measured.value == rate
    assert measured.spread == math.sqrt(rate * (1 - rate) / 4)
    assert measured.repeats == 4


def test_nan_logits_are_no_accuracy() -> None:
    logits = one_hot([0, 0, 0])
    logits[1, 2] = math.nan
    measured = MeasuredQuality(Accuracy()).measure([Answers(logits)], bench([0, 0, 0]))[0]
    with pytest.raises(EvaluationError, match="'accuracy'"):
        measured.check_unit("accuracy")


def test_infinite_logits_can_be_judged() -> None:
    logits = one_hot([0, 1, 2])
    logits[0, 0] = math.inf
    assert MeasuredQuality(Accuracy()).measure([Answers(logits)], bench([0, 1, 2]))[0].value == 1.0


def test_measurements_are_in_the_order_of_the_candidates() -> None:
    right, wrong = Answers(one_hot([0, 1])), Answers(one_hot([2, 2]))
    values = [m.value for m in MeasuredQuality(Accuracy()).measure([right, wrong, right], bench([0, 1]))]
    assert values == [1.0, 0.0, 1.0]


def test_the_contract_is_kept() -> None:
    check_measured_objective(Accuracy())
