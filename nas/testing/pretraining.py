"""The contract of a pre-training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor, nn

from nas.evaluation.from_scratch import fresh_network
from nas.inputs import Inputs, InputSpec, count_items
from nas.progress import Pretext, Pretraining
from nas.splits import Split
from nas.supernet import Supernet
from nas.testing.promises import Contract, Promise


@Contract
def check_pretraining(
    pretraining: Pretraining, network: Callable[[], nn.Module], inputs: Inputs, *, name: str = "inputs"
) -> Sequence[Promise]:
    """Check that a pre-training gives a supernet something to learn, which depends on the seeds alone.

    Args:
        pretraining: Is checked.
        network: Makes a network with choices, such as it is for.
        inputs: ``(n, *)`` items that this takes, at least four.
        name: Name of the input.

    Raises:
        BrokenPromisesError: promises are broken.
        AssertionError: it is no pre-training.
    """
    assert isinstance(pretraining, Pretraining), f"{pretraining!r} lacks pretext(), recipe or files"
    case = _Case(pretraining, network, inputs, name)
    return [
        Promise("repr tells the settings", case.check_repr),
        Promise("making the pretext leaves the supernet as it was", case.check_supernet_stays),
        Promise("the pretext holds the supernet and the items", case.check_pretext),
        Promise("a step yields finite losses that reach the supernet", case.check_learns),
        Promise(
            "a step leaves the active subnet and the weights as they were", case.check_step_changes_nothing
        ),
        Promise("what is learned depends on the seeds alone", case.check_reproducible),
    ]


@final
class _Attempt:
    """A supernet, and what a pre-training makes of it, both with the seeds of every attempt."""

    def __init__(self, pretraining: Pretraining, supernet: Supernet, items: Split, spec: InputSpec) -> None:
        self.supernet = supernet
        self.before = _copy(supernet)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.pretext = pretraining.pretext(supernet, items, spec)
            self.made = _copy(supernet)
            self.losses = [loss for seed in (2, 3) for loss in _losses(self.pretext, seed)]


@final
@dataclass(frozen=True)
class _Case:
    pretraining: Pretraining
    network: Callable[[], nn.Module]
    inputs: Inputs
    name: str

    @cached_property
    def _items(self) -> Split:
        return Split(self.inputs, torch.zeros(count_items(self.inputs), dtype=torch.int64))

    @cached_property
    def _first(self) -> _Attempt:
        return self._attempt()

    def _attempt(self) -> _Attempt:
        spec = InputSpec.of_batch(self.inputs, (self.name,))
        return _Attempt(self.pretraining, fresh_network(self.network, 0), self._items, spec)

    def check_repr(self) -> None:
        told = type(self.pretraining).__repr__ is not object.__repr__
        assert told, "repr must tell the settings: make it a frozen dataclass"

    def check_supernet_stays(self) -> None:
        changed = [
            name for name, value in self._first.made.items() if not value.equal(self._first.before[name])
        ]
        assert not changed, f"pretext() changed {changed}"

    def check_pretext(self) -> None:
        pretext = self._first.pretext
        assert isinstance(pretext, Pretext), "pretext() must return a nas.progress.Pretext"
        assert len(pretext.data) == len(self._items), "the items must stay"
        held = {id(parameter) for parameter in pretext.module.parameters()}
        own = {id(parameter) for parameter in self._first.supernet.parameters()}
        assert own <= held, "module must hold the supernet"

    def check_learns(self) -> None:
        assert self._first.losses, "a step must yield a loss"
        gradients = [p.grad for p in self._first.supernet.parameters() if p.grad is not None]
        assert any(gradient.any() for gradient in gradients), "the supernet learns nothing"

    def check_step_changes_nothing(self) -> None:
        supernet = self._first.supernet
        assert supernet.architecture == supernet.space.largest(), (
            "a step must leave the active subnet as it was"
        )
        for name, parameter in supernet.named_parameters():
            assert parameter.equal(self._first.made[name]), (
                f"a step changed {name} itself: the loop does that"
            )

    def check_reproducible(self) -> None:
        assert self._first.losses == self._attempt().losses, "what is learned depends on more than the seeds"


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _losses(pretext: Pretext, seed: int) -> list[float]:
    losses = []
    data = pretext.data
    for loss in pretext.step(data.batch(slice(None)), data.targets, torch.Generator().manual_seed(seed)):
        assert loss.ndim == 0, "a step must yield scalars"
        assert bool(loss.isfinite()), "a step must yield finite losses"
        loss.backward()
        losses.append(loss.item())
    return losses
