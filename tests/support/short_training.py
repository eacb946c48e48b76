"""A training that takes milliseconds, to be interrupted and compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_network
from torch import Tensor, nn

from nas.space import Architecture
from nas.splits import Split
from nas.supernet import Supernet
from nas.supernet.sandwich import sandwich_step
from nas.tasks import Classification
from nas.training import Recipe, make_supervised_step, train
from nas.training.phases import Phase

CPU = torch.device("cpu")
TWO_CLASSES = Classification(2)


def blobs(count: int = 50) -> Split:
    """Two classes that a linear network can tell apart."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    images = torch.randn(count, 1, 6, 6, generator=generator) + 2.0 * labels[:, None, None, None]
    return Split(images, labels)


def fresh(dropout: bool = False) -> nn.Module:
    torch.manual_seed(0)
    middle: nn.Module = nn.Dropout(0.5) if dropout else nn.Identity()
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), middle, nn.Flatten(), nn.Linear(64, 2)
    )


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class StopError(Exception):
    pass


def stop_after(epochs: int) -> Callable[[int, float], None]:
    def on_epoch(epoch: int, _loss: float) -> None:
        if epoch == epochs:
            raise StopError

    return on_epoch


def run_one_batch(supernet: Supernet, phase: Phase, seed: int = 0) -> list[Architecture]:
    """Train on one batch of eight grey images of 8 pixels and return the architectures that ran, in order."""
    run: list[Architecture] = []
    handle = supernet.register_forward_pre_hook(lambda *_: run.append(supernet.architecture))
    generator = torch.Generator().manual_seed(seed)
    for loss in phase.step()(torch.randn(8, 1, 8, 8), torch.arange(8), generator):
        loss.backward()
    handle.remove()
    return run


def plain() -> nn.Module:
    """Without batch norm and dropout, so that a batch's mean is the mean of its parts."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))


def rates(monkeypatch: pytest.MonkeyPatch, count: int, epochs: int) -> list[float]:
    """Return the learning rate of every step of a training with batches of 16."""
    taken: list[float] = []
    step = torch.optim.AdamW.step

    def noting(optimizer: torch.optim.AdamW, *args: Any) -> object:
        taken.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", noting)
    model, recipe = plain(), Recipe(epochs=epochs, batch_size=16)
    train(model, make_supervised_step(model, TWO_CLASSES, recipe), blobs(count), recipe, seed=0, device=CPU)
    return taken


def trained(
    recipe: Recipe,
    *,
    supernet: bool = False,
    seed: int = 1,
    checkpoint: Path | None = None,
    on_epoch: Callable[[int, float], None] = lambda _epoch, _loss: None,
    data: Split | None = None,
) -> tuple[dict[str, Tensor], list[float]]:
    """Train a fresh network and return its weights and losses."""
    if supernet:
        torch.manual_seed(0)
        model: nn.Module = Supernet(tiny_network(classes=2))
        step = sandwich_step(model, TWO_CLASSES, recipe)  # type: ignore[arg-type]
    else:
        model = fresh(dropout=True)
        step = make_supervised_step(model, TWO_CLASSES, recipe)
    losses = train(
        model, step, data or blobs(), recipe, seed=seed, device=CPU, checkpoint=checkpoint, on_epoch=on_epoch
    )
    return weights(model), losses
