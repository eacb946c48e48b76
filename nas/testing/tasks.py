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
from nas.objective import Measurement, Objective
from nas.space import FloatArray
from nas.task import Confusable, Detailed, Illustrated, Probabilistic, Quality, Task, TaskFacts
from nas.testing.promises import Contract, Promise, check_repr
from nas.training import Recipe


@Contract
def check_task(task: Task, form: Form, outputs: Tensor, targets: Tensor) -> Sequence[Promise]:
    """Check what a network is for.

    Losses are finite scalars with a gradient, means over the items, so that a batch given twice has the same loss; they
    may be pooled over the positions of the whole batch. The loss takes label smoothing, as training passes it, and a
    single item. Targets and outputs that fit have no fault, and outputs of another shape have one; ``repr`` tells the
    settings; facts are whole. Of what a task may have besides: entropies and divergences are those of items, and the
    same differ by nothing; confusions are counts that add up over batches; examples are a picture.

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
        Promise("the loss takes label smoothing", partial(_check_smoothing, task, outputs, targets)),
        Promise("a single item has a loss", partial(_check_single_items, task, outputs, targets)),
        Promise(
            "imitation is a mean with a gradient",
            partial(_check_loss, "imitation", task.imitation, outputs, flipped),
        ),
        Promise("good targets and outputs have no fault", partial(_check_no_fault, task, outputs, targets)),
        Promise("outputs of another shape have a fault", partial(_check_fault, task, outputs, targets)),
        Promise("facts are whole", partial(_check_facts, task, form)),
        Promise("entropies and divergences are those of items", partial(_check_probabilities, task, outputs)),
        Promise("confusions are counts that add up", partial(_check_confusions, task, outputs, targets)),
        Promise("examples are a picture", partial(_check_examples, task, form, outputs, targets)),
    ]


def _check_no_fault(task: Task, outputs: Tensor, targets: Tensor) -> None:
    for count in (len(outputs), 1):  # a network is tried on one item before anything else
        found = task.fault(targets[:count])
        assert found is None, f"fault() of {count} good targets is {found!r}"
        found = task.fault(targets[:count], outputs[:count])
        assert found is None, f"fault() of {count} good outputs is {found!r}"


def _check_fault(task: Task, outputs: Tensor, targets: Tensor) -> None:
    found = task.fault(targets, outputs[:, :0])
    assert found, "fault() must tell outputs of another shape"
    assert isinstance(found, str), f"fault() gives {found!r}: a clause that says what is expected is expected"


def _check_facts(task: Task, form: Form) -> None:
    facts = task.facts(as_spec(form))
    assert isinstance(facts, TaskFacts), f"facts() gives {facts!r}"
    for name in ("pipeline_tag", "item", "reading"):
        text = getattr(facts, name)
        assert isinstance(text, str), f"facts() has {name}={text!r}: a string is expected"
        assert text, f"facts() has {name}='': cards need a word for it"
    for name in ("outputs", "names"):
        texts = getattr(facts, name)
        are_texts = isinstance(texts, tuple) and all(isinstance(text, str) for text in texts)
        assert are_texts, f"facts() has {name}={texts!r}: a tuple of strings is expected"


def _check_examples(task: Task, form: Form, outputs: Tensor, targets: Tensor) -> None:
    if isinstance(task, Illustrated):
        picture = task.draw_examples(as_spec(form).blank(len(outputs)), targets, outputs)
        assert isinstance(picture, bytes), (
            f"draw_examples() gives {type(picture).__name__}: bytes are expected"
        )
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


def _check_smoothing(task: Task, outputs: Tensor, targets: Tensor) -> None:
    smoothing = Recipe(epochs=1).label_smoothing
    loss = task.loss(outputs, targets, smoothing)
    assert loss.ndim == 0, f"loss() with label_smoothing={smoothing} gives shape {tuple(loss.shape)}"
    assert bool(loss.isfinite()), f"loss() with label_smoothing={smoothing} gives {loss.item()}"


def _check_single_items(task: Task, outputs: Tensor, targets: Tensor) -> None:
    for row in range(len(outputs)):
        loss = task.loss(outputs[row : row + 1], targets[row : row + 1])
        assert bool(loss.isfinite().all()), f"loss() of item {row} alone gives {loss.tolist()}"


def _check_confusions(task: Task, outputs: Tensor, targets: Tensor) -> None:
    if not isinstance(task, Confusable):
        return
    whole = task.confusion(outputs, targets)
    assert whole.ndim == 2, f"confusion() gives shape {tuple(whole.shape)}, expected (k, k)"
    assert whole.shape[0] == whole.shape[1], f"confusion() gives shape {tuple(whole.shape)}, expected (k, k)"
    assert whole.dtype == torch.int64, f"confusion() gives {whole.dtype}, expected torch.int64"
    first, rest = task.confusion(outputs[:1], targets[:1]), task.confusion(outputs[1:], targets[1:])
    assert torch.equal(first + rest, whole), (
        "confusion() of two parts of a batch must add up to that of the whole"
    )


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

    Statistics are ``(n, k)`` and finite, of each item by itself. The value of all items is a finite number, in any
    order. That of some of them, as a bootstrap and a proxy subset draw them, is a number, or NaN where they don't say
    one, such as where no item is of some class. Details have one value for each part of the quality.

    Args:
        quality: To check.
        outputs: ``(n, *)``, as a network may give them, n >= 3. With items that lack some of the classes, it is seen
            what becomes of these.
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
        Promise("the value of all items is a finite number", case.check_value),
        Promise("the value of any items is a number or NaN", case.check_values_of_parts),
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

    @cached_property
    def _measured(self) -> Measurement:
        return measure_statistics(self.quality, self._statistics)

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
        self._measured.check_unit(self.quality.objective.name)

    def check_values_of_parts(self) -> None:
        # Single items lack the most: of several classes all but one.
        for rows in (self._statistics, *np.split(self._statistics, len(self._statistics))):
            value = self.quality.value(rows.copy())
            assert isinstance(value, float), f"value() gives {type(value).__name__}: a float is expected"
            assert not np.isinf(value), (
                f"value() of {len(rows)} items gives {value}: a number or NaN is expected"
            )

    def check_order(self) -> None:
        value, turned = (
            self.quality.value(rows.copy()) for rows in (self._statistics, self._statistics[::-1])
        )
        assert np.isclose(turned, value), "value() must not depend on the rows' order"

    def check_spread(self) -> None:
        assert self._measured.spread >= 0, f"the spread is {self._measured.spread}"

    def check_details(self) -> None:
        if isinstance(self.quality, Detailed):
            details, of_one = (
                self.quality.details(rows) for rows in (self._statistics, self._statistics[:1])
            )
            is_row = isinstance(details, np.ndarray) and details.ndim == 1
            assert is_row, f"details() gives {details!r}: an array of one value for each part is expected"
            assert of_one.shape == details.shape, (
                f"details() gives {len(details)} values of all items and {len(of_one)} of one: NaN is expected for a "
                "part that they say nothing of"
            )
