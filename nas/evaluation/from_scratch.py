"""Training one architecture from scratch: the honest baseline of every search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import nn

from nas.checks import check_kind
from nas.choices import Choice
from nas.errors import StudyError
from nas.evaluation.hurdles import Hurdles
from nas.evaluation.reinitialize import reinitialize
from nas.space import Architecture, SearchSpace
from nas.splits import Split
from nas.supernet import Supernet
from nas.task import Task
from nas.training import Recipe, make_supervised_step, train

EPOCHS_CHOICE = "training.epochs"
"""Name of the choice of how long a candidate is trained."""


@final
@dataclass(frozen=True)
class FromScratch:
    """A study without a supernet: every candidate is trained from random weights with the study's recipe.

    Args:
        hurdles: Give all epochs only to candidates that look good after fewer; None gives them to all.
        epochs: For how many of them a candidate is trained becomes the choice ``training.epochs`` (Li 2020), from few
            to as many as the recipe has; each number has a schedule of its own to its end. Empty: no choice.

    Raises:
        StudyError: the epochs aren't several that increase, or there are hurdles as well.
    """

    hurdles: Hurdles | None = None
    epochs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_kind("FromScratch", "epochs", self.epochs, tuple, "a tuple such as (2, 4, 8)")
        numbers = [n for n in self.epochs if isinstance(n, int) and not isinstance(n, bool) and n >= 1]
        increase = numbers == sorted(set(numbers)) and len(numbers) == len(self.epochs) != 1
        if not increase:
            raise StudyError(
                f"FromScratch has epochs={self.epochs!r}: two numbers or more from 1 on are expected, from small to "
                "large, such as (2, 4, 8)."
            )
        if self.epochs and self.hurdles is not None:
            raise StudyError(
                "FromScratch has hurdles and a choice of epochs, which both say how long a candidate is trained: "
                "leave one out."
            )

    def __repr__(self) -> str:
        # A run knows its study by it, and those from before epochs could be a choice go on.
        epochs = f", epochs={self.epochs}" if self.epochs else ""
        return f"FromScratch(hurdles={self.hurdles!r}{epochs})"

    @property
    def space(self) -> SearchSpace:
        """The choice of epochs, where there is one."""
        return SearchSpace((Choice(EPOCHS_CHOICE, self.epochs),) if self.epochs else ())

    def check_recipe(self, epochs: int) -> None:
        """Refuse epochs of the recipe that don't fit.

        Raises:
            StudyError: the largest choice isn't the recipe's, or a hurdle stands at its end or beyond it.
        """
        self.rungs(epochs)
        if self.epochs and self.epochs[-1] != epochs:
            raise StudyError(
                f"FromScratch has epochs={self.epochs} and the recipe {epochs}: the largest choice is the whole "
                "training, so make them equal."
            )

    def rungs(self, epochs: int) -> list[int]:
        """Return the epochs from hurdle to hurdle and to the end; each leg has a schedule of its own.

        Raises:
            StudyError: a hurdle stands at the end or beyond it.
        """
        return [epochs] if self.hurdles is None else self.hurdles.rungs(epochs)


def fresh_network(network: Callable[[], nn.Module], seed: int) -> Supernet:
    """Return the network with choices, its weights drawn from ``seed`` alone."""
    # The CPU's generator alone: weights are made there, and forking a GPU's would initialise it.
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
        architecture: An architecture of its space.
        data: The training split.
        task: What the network is for.
        recipe: The same that the supernet is trained with, for a fair comparison.
        seed: Seed of the weights and of the training.
        device: Where to train.
        checkpoint: As in :func:`nas.training.train`.
    """
    module = fresh_module(network, architecture, seed)
    train(
        module,
        make_supervised_step(module, task, recipe),
        data,
        recipe,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
    )
    return module
