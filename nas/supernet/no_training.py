"""Weights as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from nas.supernet.supernet import Supernet
from nas.task import Task
from nas.training import Recipe
from nas.training.phases import Phase


@final
@dataclass(frozen=True)
class NoTraining:
    """Candidates are cut from pre-trained weights, untouched until a winner is fine-tuned (Xiong 2023).

    The weights are those that the study's network holds when it is made, or those of ``Study.weights``.
    Batch-norm statistics are recalibrated all the same, which that paper doesn't do; ``Study.recalibration`` says
    otherwise.
    """

    def phases(self, supernet: Supernet, recipe: Recipe, task: Task) -> Sequence[Phase]:
        """Return none."""
        return []
