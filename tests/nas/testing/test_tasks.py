"""The contracts of tasks and qualities find what the engine would meet in the middle of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas import Objective
from nas.inputs import InputSpec
from nas.space import FloatArray
from nas.task import TaskFacts
from nas.testing import check_quality, check_task

OUTPUTS, TARGETS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1, 1])


@dataclass(frozen=True)
class Classes:
    """A task that keeps all promises."""

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def imitation(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        return F.cross_entropy(outputs, teacher.softmax(dim=1))

    def fault(self, targets: Tensor, outputs: Tensor | None = None) -> Any:
        return None if outputs is None or outputs.shape[1] == 3 else "three outputs are expected"

    def facts(self, inputs: InputSpec) -> TaskFacts:
        return TaskFacts("other", "item", ("3",), "the largest is the answer")

    def confusion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.bincount(3 * targets + outputs.argmax(dim=1), minlength=9).view(3, 3)

    def draw_examples(self, inputs: Tensor, targets: Tensor, outputs: Tensor) -> Any:
        return b"\x89PNG"


class WithoutSmoothing(Classes):
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:  # type: ignore[override]
        return F.cross_entropy(outputs, targets)


class SmoothingByNameAlone(Classes):
    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:  # type: ignore[override]
        return super().loss(outputs, targets, label_smoothing)


class SmoothingForEach(Classes):
    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        mean = "none" if label_smoothing else "mean"
        return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing, reduction=mean)


class OverOthers(Classes):
    """A loss that divides by a number that is 0 for one item."""

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        total = F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)
        return total + 0 / torch.tensor(len(outputs) - 1.0)


class SaysWhether(Classes):
    def fault(self, targets: Tensor, outputs: Tensor | None = None) -> Any:
        return None if outputs is None or outputs.shape[1] == 3 else True


class NamesByNumber(Classes):
    def facts(self, inputs: InputSpec) -> TaskFacts:
        return TaskFacts("other", "item", (3,), "the largest is the answer")  # type: ignore[arg-type]


class Shares(Classes):
    def confusion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().confusion(outputs, targets) / len(targets)


class OneTooMany(Classes):
    def confusion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().confusion(outputs, targets) + 1


class DrawsText(Classes):
    def draw_examples(self, inputs: Tensor, targets: Tensor, outputs: Tensor) -> Any:
        return "PNG"


def test_a_task_that_keeps_every_promise_passes() -> None:
    check_task(Classes(), (8,), OUTPUTS, TARGETS)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (WithoutSmoothing(), r"the loss takes label smoothing: TypeError: .*3 positional"),
        (SmoothingByNameAlone(), r"the loss takes label smoothing: TypeError: .*3 positional"),
        (SmoothingForEach(), r"label_smoothing=0.05 gives shape \(4,\)"),
        (OverOthers(), r"a single item has a loss: loss\(\) of item 0 alone gives nan"),
        (SaysWhether(), r"fault\(\) gives True: a clause"),
        (NamesByNumber(), r"outputs=\(3,\): a tuple of strings"),
        (Shares(), r"confusion\(\) gives torch.float32, expected torch.int64"),
        (OneTooMany(), "must add up to that of the whole"),
        (DrawsText(), "draw_examples.* gives str: bytes are expected"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Classes) else "",
)
def test_a_task_that_a_run_would_fail_with_is_found(task: Any, said: str) -> None:
    with pytest.raises(AssertionError, match=f"1 of .*promises are broken:\n.*{said}"):
        check_task(task, (8,), OUTPUTS, TARGETS)


@dataclass(frozen=True)
class Recall:
    """Mean recall of three classes; what a class that is missing has, is told."""

    missing: float = math.nan
    objective: Objective = Objective("recall", "", "maximize")

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        wanted = F.one_hot(targets, 3)
        return torch.cat([wanted * F.one_hot(outputs.argmax(dim=1), 3), wanted], dim=1)  # int64 will do

    def value(self, statistics: FloatArray) -> float:
        return float(self.details(statistics).mean())

    def details(self, statistics: FloatArray) -> FloatArray:
        right, there = np.split(statistics.sum(axis=0), 2)
        return np.array([r / t if t else self.missing for r, t in zip(right, there, strict=True)])


class OfThose(Recall):
    """Details of the classes alone that occur."""

    def details(self, statistics: FloatArray) -> FloatArray:
        found = super().details(statistics)
        return found[~np.isnan(found)]


@pytest.mark.parametrize("missing", [math.nan, 0.0])
def test_the_value_of_items_that_lack_a_class_may_be_a_number_or_none(missing: float) -> None:
    check_quality(Recall(missing), OUTPUTS, TARGETS)


@pytest.mark.parametrize(
    ("quality", "targets", "said"),
    [
        (
            Recall(math.inf),
            TARGETS,
            "the value of any items is a number or NaN: value.* of 1 items gives inf",
        ),
        (Recall(), TARGETS * 0, "the value of all items is a finite number: .*'recall' gave nan"),
        (OfThose(), TARGETS, r"details\(\) gives 3 values of all items and 1 of one"),
    ],
)
def test_a_quality_that_a_run_would_fail_with_is_found(quality: Recall, targets: Tensor, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_quality(quality, OUTPUTS, targets)
