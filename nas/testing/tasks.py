"""The contracts of tasks and of qualities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from nas.evaluation.quality.measuring import measure_statistics, statistics_of
from nas.inputs import Form, as_spec
from nas.objective import Objective
from nas.task import Detailed, Illustrated, Probabilistic, Quality, Task, TaskFacts


def check_task(task: Task, form: Form, outputs: Tensor, targets: Tensor) -> None:
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
        AssertionError: a promise is broken.
    """
    assert isinstance(task, Task), f"{task!r} lacks one of loss(), imitation(), fault() and facts()"
    assert " at 0x" not in repr(task), "repr must tell the settings: make it a frozen dataclass"
    _check_loss("loss", task.loss, outputs, targets)
    _check_loss("imitation", task.imitation, outputs, outputs.flip(0))
    assert task.fault(targets) is None, f"fault() of good targets is {task.fault(targets)!r}"
    assert task.fault(targets, outputs) is None, (
        f"fault() of good outputs is {task.fault(targets, outputs)!r}"
    )
    assert task.fault(targets, outputs[:, :0]), "fault() must tell outputs of another shape"
    facts = task.facts(as_spec(form))
    assert isinstance(facts, TaskFacts), f"facts() gives {facts!r}"
    assert facts.item, "facts() must say what an item is called"
    assert facts.reading, "facts() must say how outputs read"
    if isinstance(task, Probabilistic):
        _check_probabilities(task, outputs)
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


def _check_probabilities(task: Probabilistic, outputs: Tensor) -> None:
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


def check_quality(quality: Quality, outputs: Tensor, targets: Tensor) -> None:
    """Check how well networks do something.

    Statistics are ``(n, k)`` and finite, of each item by itself; the value is a finite number of any rows, in any
    order; details have one value for each part.

    Args:
        quality: To check.
        outputs: ``(n, *)``, as a network may give them, n >= 3.
        targets: ``(n, *)`` for them.

    Raises:
        AssertionError: a promise is broken.
    """
    assert isinstance(quality, Quality), f"{quality!r} lacks objective, statistics() or value()"
    assert isinstance(quality.objective, Objective), "quality.objective must be a nas.Objective"
    assert " at 0x" not in repr(quality), "repr must tell the settings: make it a frozen dataclass"
    whole = statistics_of(quality, outputs, targets)
    assert np.isfinite(whole).all(), "statistics() must be finite"
    alone = [statistics_of(quality, outputs[[row]], targets[[row]]) for row in range(len(outputs))]
    assert np.array_equal(np.concatenate(alone), whole), "an item's statistics must not depend on the others"
    value = quality.value(whole)
    assert isinstance(value, float), f"value() gives {type(value).__name__}: a float is expected"
    assert np.isfinite(value), f"value() gives {value}"
    assert np.isclose(quality.value(whole[::-1].copy()), value), "value() must not depend on the rows' order"
    measurement = measure_statistics(quality, whole)
    assert measurement.spread >= 0, "a spread is negative"
    if isinstance(quality, Detailed):
        assert quality.details(whole).ndim == 1, "details() must give one value for each part"
