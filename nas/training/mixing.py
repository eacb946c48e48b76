"""Batches whose items are blends of two: mixup and CutMix, as settings of a recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from nas.checks import check_numbers, failing_as, quote
from nas.data.augment import are_masks
from nas.errors import StudyError, TrainingError
from nas.inputs import Inputs, as_tuple, map_inputs
from nas.task import Task
from nas.training.memory import is_out_of_memory

_MEND_TASK = (
    "let the task keep the contract that nas.testing.check_task looks at, and the network give in training what it "
    "gives in evaluation"
)


@final
@dataclass(frozen=True)
class Batch:
    """What a step trains on.

    Args:
        inputs: As the network takes them.
        targets: Pairs of a weight in the loss and targets: one pair of weight 1, or more where items are blends.
    """

    inputs: Inputs
    targets: tuple[tuple[float, Tensor], ...]

    def loss(self, task: Task, outputs: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the loss of a network's outputs, a mean over the items.

        Raises:
            TrainingError: the task can't tell it.
        """
        with _blame_part("loss()", task, outputs):
            if len(self.targets) == 1:
                return task.loss(outputs, self.targets[0][1], label_smoothing)
            losses = [
                weight * task.loss(outputs, targets, label_smoothing) for weight, targets in self.targets
            ]
            return torch.stack(losses).sum()

    def item_losses(self, task: Task, outputs: Tensor) -> Tensor:
        """Return ``(n,)``, the loss of each item alone. For every task, so item by item: small batches."""
        alone = [
            Batch((), tuple((weight, targets[row : row + 1]) for weight, targets in self.targets)).loss(
                task, outputs[row : row + 1]
            )
            for row in range(len(outputs))
        ]
        return torch.stack(alone)


def imitate(task: Task, outputs: Tensor, taught: Tensor) -> Tensor:
    """Return a student's loss against a teacher's outputs.

    Raises:
        TrainingError: the task can't tell it.
    """
    with _blame_part("imitation()", task, outputs):
        return task.imitation(outputs, taught)


def _blame_part(part: str, task: Task, outputs: object) -> failing_as:
    given = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else quote(outputs)
    # Not the repr, which may hold a vocabulary, because this is made for every loss.
    fault = f"{part} of the task {type(task).__name__} failed on outputs of {given}"
    return failing_as(TrainingError, fault, _MEND_TASK, besides=is_out_of_memory)


@runtime_checkable
class Mix(Protocol):
    """Blends each item of a batch with another. ``repr`` goes into the study's fingerprint: a frozen dataclass."""

    def mix(self, inputs: Inputs, targets: Tensor, rng: np.random.Generator) -> Batch:
        """Return blends of ``(n, *)`` normalised inputs and their targets.

        Batches are shuffled, so an item's neighbour will do as the other one. What is drawn from ``rng`` must not
        depend on n.

        Raises:
            StudyError: such inputs can't be blended.
        """


@final
@dataclass(frozen=True)
class Mixup:
    """Sums of two items with random shares, and of their losses with the same (Zhang 2018).

    One share is drawn for each batch, from a Beta distribution with both parameters ``alpha``. For every task whose
    inputs are numbers, not ids.

    Args:
        alpha: 0.1 to 0.4 for images, as in the paper: most items are nearly whole; at 1 all shares are equally likely.

    Raises:
        StudyError: it is not positive.
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        _check_alpha(self, self.alpha)

    def mix(self, inputs: Inputs, targets: Tensor, rng: np.random.Generator) -> Batch:
        """Return sums of each item and the one before it."""
        for tensor in as_tuple(inputs):
            if not tensor.is_floating_point():
                raise StudyError(
                    f"the recipe's mix adds inputs up and these are {tensor.dtype}, ids and no amounts: leave mix out."
                )
        # One for all items, so that every process of a training draws the same, however many items it has.
        share = float(rng.beta(self.alpha, self.alpha))

        def blend(tensor: Tensor) -> Tensor:
            return share * tensor + (1 - share) * tensor.roll(1, 0)

        return Batch(map_inputs(blend, inputs), ((share, targets), (1 - share, targets.roll(1, 0))))


@final
@dataclass(frozen=True)
class CutMix:
    """Images with a rectangle out of another, and losses by the share of the area (Yun 2019).

    One rectangle is drawn for each batch; its area comes from a Beta distribution with both parameters ``alpha``. Of
    targets that are masks the same rectangle is taken.

    Args:
        alpha: 1 in the paper: all areas are equally likely, before the image's edge cuts some off.

    Raises:
        StudyError: it is not positive.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check_alpha(self, self.alpha)

    def mix(self, inputs: Inputs, targets: Tensor, rng: np.random.Generator) -> Batch:
        """Return images with a rectangle of the one before."""
        if isinstance(inputs, tuple) or inputs.ndim != 4 or not inputs.is_floating_point():
            taken = " and ".join(
                f"{tensor.dtype} of shape {tuple(tensor.shape)}" for tensor in as_tuple(inputs)
            )
            raise StudyError(
                f"the recipe's mix cuts images, (n, channels, height, width), and the network takes {taken}: use "
                "Mixup(), or leave mix out."
            )
        rows, columns = _rectangle(
            inputs.shape[2], inputs.shape[3], float(rng.beta(self.alpha, self.alpha)), rng
        )
        mixed = _paste(inputs, rows, columns)
        if are_masks(inputs, targets):
            return Batch(mixed, ((1.0, _paste(targets, rows, columns)),))
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        share = 1 - area / (inputs.shape[2] * inputs.shape[3])
        return Batch(mixed, ((share, targets), (1 - share, targets.roll(1, 0))))


def _check_alpha(settings: object, alpha: float) -> None:
    check_numbers(settings, "alpha")
    if not 0 < alpha < math.inf:
        raise StudyError(
            f"{type(settings).__name__} has alpha={alpha}: a positive, finite number is expected."
        )


def _rectangle(height: int, width: int, share: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return a rectangle around a random pixel that leaves ``share`` of the area, more where an edge cuts it."""
    side = math.sqrt(1 - share)
    rows, columns = (
        (slice(max(0, centre - half), min(size, centre + half)))
        for size in (height, width)
        for centre, half in [(int(rng.integers(size)), int(size * side) // 2)]
    )
    return rows, columns


def _paste(tensor: Tensor, rows: slice, columns: slice) -> Tensor:
    mixed = tensor.clone()
    mixed[..., rows, columns] = tensor.roll(1, 0)[..., rows, columns]
    return mixed
