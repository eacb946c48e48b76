"""The contract of a supernet training recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import final

import torch
from torch import nn

from nas.choices import choice
from nas.evaluation.from_scratch import fresh_network
from nas.supernet import Supernet, elastic
from nas.tasks import Classification
from nas.testing.promises import Contract, Promise, check_repr
from nas.training import Recipe, Step
from nas.training.phases import Phase, SupernetTraining

_RECIPE = Recipe(epochs=8, batch_size=4)
"""Epochs enough that each of several phases has one."""


@Contract
def check_supernet_training(training: SupernetTraining) -> Sequence[Promise]:
    """Check that a recipe trains what it is given, in steps that depend on the generator alone.

    The weights may change by the gradients of its losses and in no other way.

    Args:
        training: To check.

    Raises:
        BrokenPromisesError: promises are broken.
        AssertionError: it is no recipe for supernets.
    """
    assert isinstance(training, SupernetTraining), f"{training!r} has no phases()"
    case = _Case(training)
    return [
        Promise("repr tells the settings", partial(check_repr, training)),
        Promise("phases share out the epochs", case.check_epochs),
        Promise("a step yields finite losses", case.check_losses),
        Promise("a step draws from the generator alone", case.check_reproducible),
        Promise("a step leaves the active subnet as it was", case.check_active_stays),
        Promise("a step leaves the weights to the training loop", case.check_weights_stay),
    ]


@final
@dataclass(frozen=True)
class _Case:
    training: SupernetTraining

    @cached_property
    def _supernet(self) -> Supernet:
        return fresh_network(_elastic_network, 0)

    @cached_property
    def _phases(self) -> Sequence[Phase]:
        return self.training.phases(self._supernet, _RECIPE, Classification(3))

    def check_epochs(self) -> None:
        total = sum(phase.recipe.epochs for phase in self._phases)
        assert total in (0, _RECIPE.epochs), "phases must share out the epochs"

    def check_losses(self) -> None:
        for phase in self._phases:
            assert _losses(phase.step()), f"the step of phase {phase.name!r} yields no loss"

    def check_reproducible(self) -> None:
        for phase in self._phases:
            step = phase.step()
            assert _losses(step) == _losses(step), (
                f"phase {phase.name!r} draws from something else than the generator"
            )

    def check_active_stays(self) -> None:
        for phase in self._phases:
            _losses(phase.step())
            assert self._supernet.architecture == self._supernet.space.largest(), (
                "a step must leave the active subnet as it was"
            )

    def check_weights_stay(self) -> None:
        before = {name: value.clone() for name, value in self._supernet.named_parameters()}
        for phase in self._phases:
            _losses(phase.step())
        for name, value in self._supernet.named_parameters():
            assert torch.equal(value, before[name]), (
                f"a step changed {name} itself: the training loop does that"
            )


def _elastic_network() -> nn.Module:
    width = choice("width", 2, 4)
    return nn.Sequential(
        elastic.Conv2d(1, width, choice("kernel", 1, 3), padding="same"),
        elastic.BatchNorm2d(width),
        elastic.Repeat(lambda _: elastic.Conv2d(width, width, 1), times=choice("depth", 0, 1)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        elastic.Linear(width, 3),
    )


def _losses(step: Step) -> list[float]:
    """Return the losses of a batch, the same one every time, with their gradients made."""
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(4, 1, 8, 8, generator=generator), torch.tensor([0, 1, 2, 0])
    losses = []
    for loss in step(images, labels, torch.Generator().manual_seed(2)):
        assert loss.ndim == 0, "a step must yield scalars"
        assert bool(loss.isfinite()), "a step must yield finite losses"
        loss.backward()
        losses.append(loss.item())
    return losses
