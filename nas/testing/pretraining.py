"""The contract of a pre-training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from nas.evaluation.from_scratch import fresh_network
from nas.inputs import Inputs, InputSpec, count_items
from nas.progress import Pretext, Pretraining
from nas.splits import Split
from nas.supernet import Supernet


def check_pretraining(
    pretraining: Pretraining, network: Callable[[], nn.Module], inputs: Inputs, *, name: str = "inputs"
) -> None:
    """Check that a pre-training gives a supernet something to learn, which depends on the seeds alone.

    Args:
        pretraining: Is checked.
        network: Makes a network with choices, such as it is for.
        inputs: ``(n, *)`` items that this takes, at least four.
        name: Name of the input.

    Raises:
        AssertionError: a promise is broken.
    """
    assert isinstance(pretraining, Pretraining), f"{pretraining!r} lacks pretext(), recipe or files"
    told = type(pretraining).__repr__ is not object.__repr__
    assert told, "repr must tell the settings: make it a frozen dataclass"
    items = Split(inputs, torch.zeros(count_items(inputs), dtype=torch.int64))
    first, again = (
        _train_twice(pretraining, fresh_network(network, 0), items, InputSpec.of_batch(inputs, (name,)))
        for _ in range(2)
    )
    assert first == again, "what is learned depends on more than the seeds"


def _train_twice(pretraining: Pretraining, supernet: Supernet, items: Split, spec: InputSpec) -> list[float]:
    """Return the losses of two batches."""
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        pretext = pretraining.pretext(supernet, items, spec)
        for name, value in supernet.state_dict().items():
            assert torch.equal(value, before[name]), f"pretext() changed {name}"
        assert isinstance(pretext, Pretext), "pretext() must return a nas.progress.Pretext"
        assert len(pretext.data) == len(items), "the items must stay"
        held = {id(parameter) for parameter in pretext.module.parameters()}
        assert {id(parameter) for parameter in supernet.parameters()} <= held, "module must hold the supernet"
        losses = [loss for seed in (2, 3) for loss in _losses(pretext, seed)]
    assert supernet.architecture == supernet.space.largest(), "a step must leave the active subnet as it was"
    for name, parameter in supernet.named_parameters():
        assert torch.equal(parameter, before[name]), f"a step changed {name} itself: the loop does that"
    assert any(p.grad is not None and p.grad.any() for p in supernet.parameters()), (
        "the supernet learns nothing"
    )
    return losses


def _losses(pretext: Pretext, seed: int) -> list[float]:
    losses = []
    data = pretext.data
    for loss in pretext.step(data.batch(slice(None)), data.targets, torch.Generator().manual_seed(seed)):
        assert loss.ndim == 0, "a step must yield scalars"
        assert bool(loss.isfinite()), "a step must yield finite losses"
        loss.backward()
        losses.append(loss.item())
    assert losses, "a step must yield a loss"
    return losses
