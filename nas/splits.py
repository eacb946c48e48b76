"""The three parts of a data set, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from nas.inputs import Inputs, InputSpec, map_inputs, take_items
from nas.space import IntArray
from nas.task import Task, TaskFacts

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Items and what a network should make of them.

    Args:
        inputs: ``(n, channels, height, width)`` float32, normalised; or uint8, as read, to be normalised
            per batch. Other networks take ``(n, *shape)``, such as ``(n, length)`` int64 token ids, or several of
            these, a tuple in the order of their arguments.
        targets: ``(n, *)``, as the task has them: ``(n,)`` int64 classes, ``(n, height, width)`` masks.
        mean: Per channel, what ``batch`` subtracts; empty where nothing is left to normalise.
        std: Per channel, what ``batch`` divides by after that.
        mapped: Whether ``inputs`` is a file that is read as it is used, too large for the memory.
        ignored: The value in masks of what neither teaches nor counts; None where there is none.
    """

    inputs: Inputs
    targets: Tensor
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    mapped: bool = False
    ignored: int | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, rows: slice | Tensor | IntArray) -> Inputs:
        """Return some rows of ``inputs`` as they are held."""
        return take_items(self.inputs, rows)

    def batch(self, rows: slice | Tensor | IntArray) -> Inputs:
        """Return some rows as the network takes them, on the device that they lie on."""
        return self.normalise(self.rows(rows))

    def normalise(self, inputs: Inputs) -> Inputs:
        """Return rows of ``inputs``, changed or not, as the network takes them."""
        if not self.mean:
            return inputs
        assert not isinstance(inputs, tuple), "what is normalised is one tensor of images"
        pixels = inputs.float()
        mean, std = (pixels.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return pixels.sub(mean).div_(std)

    def batches(self, size: int) -> Iterator[Inputs]:
        """Yield all rows in order, ``size`` at a time, as the network takes them."""
        for start in range(0, len(self), size):
            yield self.batch(slice(start, start + size))

    def sample(self, count: int) -> Inputs:
        """Return up to ``count`` random rows as the network takes them, the same ones every time.

        The first ones would be of one class where the data lie sorted by class, as folders of images do.
        """
        size = min(count, len(self))
        rows = np.random.default_rng(0).choice(len(self), size, replace=False, shuffle=False)
        return self.batch(np.sort(rows))

    def subset(self, rows: Tensor) -> Split:
        """Return some rows as a split of their own, in memory."""
        return replace(self, inputs=self.rows(rows), targets=self.targets[rows], mapped=False)

    def to(self, device: torch.device) -> Split:
        """Return the split on ``device``; mapped inputs stay where they are."""
        if self.mapped:
            return replace(self, targets=self.targets.to(device))
        inputs = map_inputs(lambda tensor: tensor.to(device), self.inputs)
        return replace(self, inputs=inputs, targets=self.targets.to(device))


@dataclass(frozen=True)
class Splits:
    """Three disjoint parts of one data set, made once.

    ``train`` teaches weights, ``search`` evaluates candidates, ``test`` is read once, for the winners.

    Args:
        name: Name of the data set.
        train: First part.
        search: Second part.
        test: Third part.
        task: What the network is for.
        mean: Per channel; subtracted from the raw pixels. Empty where inputs are not normalised.
        std: Per channel; the raw pixels are divided by it after that.
        fingerprint: Changes when any input or target of any part does.
        vocabulary: By token id, for text; empty otherwise.
        input_names: What an exported model calls its inputs, in the order of the network's arguments.
        notes: Clauses for the report, such as how often each class occurs in each part.
        unlabelled: What pre-training learns from, whose targets mean nothing; None for the items of ``train``. Those of
            ``train`` may be among it, those of the other two parts must not.
    """

    name: str
    train: Split
    search: Split
    test: Split
    task: Task
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    vocabulary: tuple[str, ...] = ()
    input_names: tuple[str, ...] = ("images",)
    notes: tuple[str, ...] = ()
    unlabelled: Split | None = None

    @property
    def inputs(self) -> InputSpec:
        """The form of what the network takes."""
        return InputSpec.of_batch(self.train.batch(slice(0, 1)), self.input_names)

    @property
    def facts(self) -> TaskFacts:
        """What cards say of the task."""
        return self.task.facts(self.inputs)


@runtime_checkable
class DataSource(Protocol):
    """Where the items come from. Loading twice must give the same splits."""

    def load(self) -> Splits:
        """Return the splits.

        Raises:
            DataError: the data is missing or not valid; says what to do.
        """
