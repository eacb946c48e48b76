"""The contracts of tasks and of qualities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import final

import numpy as np
import torch
from torch import Tensor

from nas.evaluation.quality.measuring import measure_statistics, statistics_of
from nas.inputs import Form, as_spec
from nas.objective import Objective
from nas.space import FloatArray
from nas.task import Detailed, Illustrated, Probabilistic, Quality, Task, TaskFacts
from nas.testing.promises import Contract, Promise, check_repr


@Contract
def check_task(task: Task, form: Form, outputs: Tensor, targets: Tensor) -> Sequence[Promise]:
    """Check what a network is for.

    Losses are finite scalars, means over the items, with a gradient; targets and outputs that fit have no fault, and
    outputs of another shape have one; ``repr`` tells the settings; facts are whole. Where outputs stand for
    probabilities, entropies and divergences are those of items, and the same differ by nothing.

    Args:
        task: To check.
        form: What its networks take.
        outputs: ``(n, *)``, as a network may give them, n >= 2.
        targets: ``(n, *)`` for them.

    Raises:
        BrokenPromisesError: promises are broken.
        AssertionError: it is no task.
    """
    assert isinstance(task, Task), f"{task!r} lacks one of loss(), imitation(), fault() and facts()"
    flipped = outputs.flip(0)
    return [
        Promise("repr tells the settings", partial(check_repr, task)),
        Promise(
            "the loss is a mean with a gradient", partial(_check_loss, "loss", task.loss, outputs, targets)
        ),
        Promise(
            "imitation is a mean with a gradient",
            partial(_check_loss, "imitation", task.imitation, outputs, flipped),
        ),
        Promise("good targets and outputs have no fault", partial(_check_no_fault, task, outputs, targets)),
        Promise("outputs of another shape have a fault", partial(_check_fault, task, outputs, targets)),
        Promise("facts are whole", partial(_check_facts, task, form)),
        Promise("entropies and divergences are those of items", partial(_check_probabilities, task, outputs)),
        Promise("examples are a picture", partial(_check_examples, task, form, outputs, targets)),
    ]


def _check_no_fault(task: Task, outputs: Tensor, targets: Tensor) -> None:
    found = task.fault(targets)
    assert found is None, f"fault() of good targets is {found!r}"
    found = task.fault(targets, outputs)
    assert found is None, f"fault() of good outputs is {found!r}"


def _check_fault(task: Task, outputs: Tensor, targets: Tensor) -> None:
    assert task.fault(targets, outputs[:, :0]), "fault() must tell outputs of another shape"


def _check_facts(task: Task, form: Form) -> None:
    facts = task.facts(as_spec(form))
    assert isinstance(facts, TaskFacts), f"facts() gives {facts!r}"
    assert facts.item, "facts() must say what an item is called"
    assert facts.reading, "facts() must say how outputs read"


def _check_examples(task: Task, form: Form, outputs: Tensor, targets: Tensor) -> None:
    if isinstance(task, Illustrated):
        picture = task.draw_examples(as_spec(form).blank(len(outputs)), targets, outputs)
        assert picture.startswith(b"\x89PNG"), "draw_examples() must return a PNG"


def _check_loss(
    name: str, loss_of: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, wanted: Tensor
) -> None:
    given = outputs.clone().requires_grad_()
    loss = loss_of(given, wanted)
    assert loss.ndim == 0, f"{name}() gives shape {tuple(loss.shape)}: a scalar is expected"
    assert bool(loss.isfinite()), f"{name}() gives {loss.item()}"
    assert loss.requires_grad, f"{name}() has no gradient"
    loss.backward()
    moved = given.grad is not None and bool(given.grad.any())
    assert moved, f"the gradient of {name}() is 0 everywhere"
    twice = loss_of(torch.cat([outputs, outputs]), torch.cat([wanted, wanted]))
    assert torch.allclose(twice, loss, rtol=1e-4), f"{name}() must be a mean over the items"


def _check_probabilities(task: Task, outputs: Tensor) -> None:
    if not isinstance(task, Probabilistic):
        return
    others = outputs.flip(0)
    entropies, divergences = task.entropies(outputs), task.divergences(outputs, others)
    for name, values in (("entropies", entropies), ("divergences", divergences)):
        assert values.shape == (len(outputs),), (
            f"{name}() gives shape {tuple(values.shape)}: one for each item"
        )
        assert bool((values > -1e-6).all()), f"{name}() gives {values.min().item()}: 0 or more is expected"
    assert bool((task.divergences(outputs, outputs).abs() < 1e-5).all()), (
        "divergences() of the same must be 0"
    )


@Contract
def check_quality(quality: Quality, outputs: Tensor, targets: Tensor) -> Sequence[Promise]:
    """Check how well networks do something.

    Statistics are ``(n, k)`` and finite, of each item by itself; the value is a finite number of any rows, in any
    order; details have one value for each part.

    Args:
        quality: To check.
        outputs: ``(n, *)``, as a network may give them, n >= 3.
        targets: ``(n, *)`` for them.

    Raises:
        BrokenPromisesError: promises are broken.
        AssertionError: it is no quality.
    """
    assert isinstance(quality, Quality), f"{quality!r} lacks objective, statistics() or value()"
    case = _QualityCase(quality, outputs, targets)
    return [
        Promise("repr tells the settings", partial(check_repr, quality)),
        Promise("it has a name, a unit and a direction", case.check_objective),
        Promise("statistics are finite", case.check_finite),
        Promise("an item's statistics depend on it alone", case.check_items),
        Promise("the value is a finite number", case.check_value),
        Promise("the value is that of any order", case.check_order),
        Promise("the spread is 0 or more", case.check_spread),
        Promise("details have one value for each part", case.check_details),
    ]


@final
@dataclass(frozen=True)
class _QualityCase:
    quality: Quality
    outputs: Tensor
    targets: Tensor

    @cached_property
    def _statistics(self) -> FloatArray:
        return statistics_of(self.quality, self.outputs, self.targets)

    def check_objective(self) -> None:
        assert isinstance(self.quality.objective, Objective), "quality.objective must be a nas.Objective"

    def check_finite(self) -> None:
        assert np.isfinite(self._statistics).all(), "statistics() must be finite"

    def check_items(self) -> None:
        rows = range(len(self.outputs))
        alone = [statistics_of(self.quality, self.outputs[[row]], self.targets[[row]]) for row in rows]
        same = np.array_equal(np.concatenate(alone), self._statistics)
        assert same, "an item's statistics must not depend on the others"

    def check_value(self) -> None:
        value = self.quality.value(self._statistics)
        assert isinstance(value, float), f"value() gives {type(value).__name__}: a float is expected"
        assert np.isfinite(value), f"value() gives {value}"

    def check_order(self) -> None:
        value, turned = (
            self.quality.value(rows.copy()) for rows in (self._statistics, self._statistics[::-1])
        )
        assert np.isclose(turned, value), "value() must not depend on the rows' order"

    def check_spread(self) -> None:
        assert measure_statistics(self.quality, self._statistics).spread >= 0, "a spread is negative"

    def check_details(self) -> None:
        if isinstance(self.quality, Detailed):
            details = self.quality.details(self._statistics)
            assert details.ndim == 1, "details() must give one value for each part"
