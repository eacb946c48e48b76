"""Stochastic depth: rows of blocks, some of which a step of the training leaves out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from nas.errors import StudyError, TrainingError
from nas.training.steps import make_generator


@runtime_checkable
class Row(Protocol):
    """A module that runs blocks one after the other, each of which keeps the shape of what it is given."""

    def blocks_in_use(self) -> list[nn.Module]:
        """Return the blocks to run, in order."""


_MARK = "blocks_may_be_left_out"
"""Attribute of a ``torch.nn.Sequential`` that is a row: what is extracted holds torch's own classes alone."""


def mark_row(blocks: nn.Sequential) -> nn.Sequential:
    """Let training leave out some of the blocks, and return the same."""
    vars(blocks)[_MARK] = True
    return blocks


def find_rows(model: nn.Module) -> list[nn.Module]:
    """Return the rows of a model, in the order of its modules."""
    return [module for module in model.modules() if isinstance(module, Row) or _MARK in vars(module)]


@final
class StochasticDepth:
    """Leaves out blocks at random, later ones with greater probability (Huang 2016, section 3).

    Of the L blocks that the active architecture runs, over all rows in the order of the modules, the l-th survives with
    probability 1 - l / L * rate. One that doesn't isn't computed: its input goes on. Of one that does, what it adds to
    its input is divided by that probability, so that the expected output is the block's own, and a network without
    this class, as it is evaluated and exported, needs no change. (There, the sum is scaled when the network is used.)

    Args:
        model: Holds the rows.
        rate: Probability that the last block is left out; 0 leaves all as it is.

    Raises:
        StudyError: there is a rate and the model has no row.
    """

    def __init__(self, model: nn.Module, rate: float) -> None:
        self._rows = find_rows(model) if rate else []
        self._rate = rate
        self._rng = np.random.default_rng(0)
        if rate and not self._rows:
            raise StudyError(
                f"the recipe has stochastic_depth={rate}, and the network has no row of blocks to leave some out: "
                "make it of elastic.Repeat(block, times), or leave stochastic_depth out."
            )

    @contextlib.contextmanager
    def apply(self) -> Iterator[None]:
        """Let the model's rows leave blocks out."""
        for row in self._rows:
            row.forward = partial(self._run, row)
        try:
            yield
        finally:
            for row in self._rows:
                del row.forward  # that of its class is found again

    def seed(self, generator: torch.Generator) -> None:
        """Draw from now on what depends on the generator's state alone: the same in all parts of a batch and ranks."""
        if self._rows:
            self._rng = make_generator(generator)

    def _run(self, row: nn.Module, inputs: Tensor) -> Tensor:
        for position, block in enumerate(_blocks_of(row)):
            survival = self.survival(row, position) if row.training else 1.0
            if survival == 1.0:
                inputs = block(inputs)
            elif self._rng.random() < survival:
                inputs = inputs + _get_added(block, inputs) / survival
        return inputs

    def survival(self, row: nn.Module, position: int) -> float:
        """Return the probability that a block of a row is run."""
        counts = [len(_blocks_of(other)) for other in self._rows]
        number = sum(counts[: self._rows.index(row)]) + position + 1
        return 1 - number / sum(counts) * self._rate


def _blocks_of(row: nn.Module) -> list[nn.Module]:
    return row.blocks_in_use() if isinstance(row, Row) else list(row.children())


def _get_added(block: nn.Module, inputs: Tensor) -> Tensor:
    """Return what a block adds to its input.

    Raises:
        TrainingError: it doesn't keep the shape.
    """
    output: Tensor = block(inputs)
    if output.shape != inputs.shape:
        raise TrainingError(
            f"stochastic_depth leaves out blocks, and one of a row makes {tuple(output.shape)} of "
            f"{tuple(inputs.shape)}: let all blocks of elastic.Repeat keep the shape, or leave stochastic_depth out."
        )
    return output - inputs
