"""Training one architecture from scratch: the honest baseline of every search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import nn

from nas.evaluation.hurdles import Hurdles
from nas.evaluation.reinitialize import reinitialize
from nas.protocols import Split
from nas.space import Architecture
from nas.supernet import Supernet
from nas.task import Task
from nas.training import Recipe, supervised_step, train


@final
@dataclass(frozen=True)
class FromScratch:
    """A study without a supernet: every candidate is trained from random weights with the study's recipe.

    Args:
        hurdles: Give all epochs only to candidates that look good after fewer; None gives them to all.
    """

    hurdles: Hurdles | None = None

    def rungs(self, epochs: int) -> list[int]:
        """Return the epochs from hurdle to hurdle and to the end; each leg has a schedule of its own.

        Raises:
            StudyError: a hurdle stands at the end or beyond it.
        """
        return [epochs] if self.hurdles is None else self.hurdles.rungs(epochs)


def fresh_network(network: Callable[[], nn.Module], seed: int) -> Supernet:
    """Return the network with choices, its weights drawn from ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Supernet(network())


def fresh_module(network: Callable[[], nn.Module], architecture: Architecture, seed: int) -> nn.Module:
    """Return ``architecture`` as a plain module, initialised at its own size from ``seed`` alone.

    Weights that ``network`` gives its layers, drawn for the largest size or trained, are replaced: see
    :func:`nas.evaluation.reinitialize.reinitialize`.
    """
    module = fresh_network(network, seed).extract(architecture, config=False)
    reinitialize(module, seed)
    return module


def train_from_scratch(
    network: Callable[[], nn.Module],
    architecture: Architecture,
    data: Split,
    task: Task,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
) -> nn.Module:
    """Return ``architecture`` as a plain module, trained with ``recipe`` from random weights.

    Args:
        network: Makes the network with choices.
        architecture: Of its space.
        data: The training split.
        task: What the network is for.
        recipe: The same that the supernet is trained with, for a fair comparison.
        seed: Of the weights and of the training.
        device: Where to train.
        checkpoint: As in :func:`nas.training.train`.
    """
    module = fresh_module(network, architecture, seed)
    train(
        module,
        supervised_step(module, task, recipe),
        data,
        recipe,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
    )
    return module
