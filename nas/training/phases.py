"""What a way to train the shared weights must do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from nas.task import Task

if TYPE_CHECKING:
    from nas.supernet import Supernet
    from nas.training import Recipe, Step


@dataclass(frozen=True)
class Phase:
    """A part of a supernet's training, with an optimizer and a schedule of its own.

    Args:
        name: For people to read.
        recipe: Epochs and rates of the phase.
        step: Makes the phase's step when the phase begins, with the weights that the last one left.
    """

    name: str
    recipe: Recipe
    step: Callable[[], Step]


@runtime_checkable
class SupernetTraining(Protocol):
    """How the weights that all architectures share are learned.

    ``repr`` goes into the study's fingerprint, so a frozen dataclass does well.
    """

    def phases(self, supernet: Supernet, recipe: Recipe, task: Task) -> Sequence[Phase]:
        """Return what to do, in order; nothing if the weights stay as they are.

        Args:
            supernet: What is to be trained; not changed here.
            recipe: The study's. The phases' epochs should add up to its epochs.
            task: What the network is for: its losses.
        """
