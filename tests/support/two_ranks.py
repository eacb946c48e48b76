"""Trains a supernet in as many processes as ``torchrun`` starts; each writes what it ended with.

torchrun --nproc-per-node 2 two_ranks.py OUT
"""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from nas import Recipe, SandwichRule, Supernet, choice
from nas.splits import Split
from nas.supernet import elastic
from nas.tasks import Classification
from nas.training import ALONE, Ranks, join_ranks, make_supervised_step, train

CLASSES = Classification(10)

CPU = torch.device("cpu")


def network() -> nn.Module:
    """Without batch norm, which would see one process's images alone."""
    width = choice("width", 2, 4, 8)
    return nn.Sequential(
        elastic.Conv2d(1, width, choice("kernel", 1, 3), padding="same"),
        nn.ReLU(),
        elastic.Repeat(
            lambda i: elastic.Conv2d(width, width, choice(f"{i}.kernel", 1, 3), padding="same"),
            times=choice("depth", 0, 1),
        ),
        nn.Flatten(),
        elastic.Linear(width * 16, 2),
    )


def images_and_labels() -> Split:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(50) % 2
    return Split(torch.randn(50, 1, 4, 4, generator=generator) + labels[:, None, None, None], labels)


# What all trainings here share: fifty images and a seed.
train_here = partial(train, data=images_and_labels(), seed=3, device=CPU)


def averaged(ranks: Ranks, checkpoint: Path, stop_after: int | None = None) -> dict[str, Tensor]:
    """Train with batch norm and an average for three epochs, unless stopped, and return the weights."""

    def on_epoch(epoch: int, _loss: float) -> None:
        if epoch == stop_after:
            raise KeyboardInterrupt

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    recipe = Recipe(epochs=3, batch_size=16, ema_decay=0.9)
    step = make_supervised_step(model, CLASSES, recipe)
    train_here(model, step, recipe=recipe, ranks=ranks, checkpoint=checkpoint, on_epoch=on_epoch)
    return dict(model.state_dict())


def trained(ranks: Ranks = ALONE, checkpoint: Path | None = None) -> dict[str, object]:
    """Train for three epochs; also return the architectures that this process ran, in order."""
    torch.manual_seed(0)
    supernet = Supernet(network())
    ran: list[str] = []
    supernet.register_forward_pre_hook(lambda *_: ran.append(supernet.architecture.id))
    recipe = Recipe(epochs=3, batch_size=16)
    (phase,) = SandwichRule().phases(supernet, recipe, CLASSES)
    losses = train_here(supernet, phase.step(), recipe=recipe, ranks=ranks, checkpoint=checkpoint)
    weights: dict[str, Tensor] = dict(supernet.state_dict())
    return {"weights": weights, "ran": ran, "losses": losses}


def made_by_the_first(ranks: Ranks, out: Path) -> bool:
    """Return whether this process found what rank 0 makes, which takes it a while."""
    path = out / "made"

    def make() -> Path:
        if ranks.first:
            torch.save(trained(), path)
        return path

    return ranks.after_first(make).exists()


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    with join_ranks(CPU) as joined:
        result = trained(joined, out / "checkpoint.pt")
        made = made_by_the_first(joined, out)
        again = trained(joined, out / "checkpoint.pt")  # finished: read by rank 0, shared, nothing is run
        with contextlib.suppress(KeyboardInterrupt):
            averaged(joined, out / "resumed.pt", stop_after=2)
        torch.save(
            {
                **result,
                "size": joined.size,
                "again": again,
                "made": made,
                "averaged": averaged(joined, out / "averaged.pt"),
                "averaged, resumed": averaged(joined, out / "resumed.pt"),
            },
            out / f"rank{joined.rank}.pt",
        )
