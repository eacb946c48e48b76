"""What every kind of training must say and do about the weights of candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import optuna
from torch import nn

from nas.progress import Progress
from nas.runner.measuring import Known, PartialEvaluation
from nas.runner.preparation import Prepared
from nas.space import Architecture, FloatArray
from nas.training import ALONE, Ranks


@final
@dataclass(frozen=True)
class EvaluationBasis:
    """What a candidate's evaluation depends on besides its architecture, read from the record when it begins.

    Args:
        record: Name of the record.
        earlier: By finished trial, in the order of their ends: the costs at every hurdle that it reached.
    """

    record: str
    earlier: tuple[tuple[FloatArray, ...], ...] = ()


class Weights(Protocol):
    """Gives candidates their weights."""

    @property
    def are_shared(self) -> bool:
        """Whether candidates share weights, so that networks which are trained on their own may rank differently."""

    @property
    def come_with_network(self) -> bool:
        """Whether winners may keep weights that the study's network is made with."""

    @property
    def digest(self) -> str:
        """Tells whether two runs gave their candidates the same weights."""

    def train(self, progress: Progress, ranks: Ranks = ALONE) -> float | None:
        """Train what candidates share, or load it if it is trained.

        Returns:
            The seconds that its training took, over all attempts; None where they share nothing.

        Raises:
            StudyError: several processes are to train together, and they share nothing.
        """

    def load(self) -> None:
        """Load what candidates share, which another process has trained."""

    def find_basis(self, record: optuna.Study) -> EvaluationBasis:
        """Return what the next evaluation depends on. Called in the process that writes the record."""

    def evaluate(
        self, prepared: Prepared, architecture: Architecture, known: Known, basis: EvaluationBasis
    ) -> PartialEvaluation:
        """Give an architecture its weights and evaluate it, on the search split of ``prepared``."""

    def module(self, architecture: Architecture) -> nn.Module:
        """Return an evaluated architecture as a module with the weights of its evaluation."""

    def teacher(self) -> nn.Module | None:
        """Return what a winner learns from besides the targets."""
