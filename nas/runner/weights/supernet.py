"""Weights that all candidates share: those of a supernet."""

from __future__ import annotations

from functools import cached_property
from typing import final

import optuna
from torch import nn

from nas.files import file_digest
from nas.progress import Progress
from nas.runner.compressing import compress_in_search
from nas.runner.directory import RunDirectory
from nas.runner.measuring import Known, PartialEvaluation, evaluate_architecture
from nas.runner.preparation import Prepared
from nas.runner.supernet_training import WEIGHTS, load_supernet, train_supernet
from nas.runner.weights.protocol import EvaluationBasis
from nas.space import Architecture
from nas.supernet import NoTraining
from nas.supernet.convert import Converted
from nas.supernet.recalibrate import extract_recalibrated
from nas.training import ALONE, Ranks


@final
class SupernetWeights:
    """Every candidate is cut from the trained supernet.

    Args:
        prepared: Holds the supernet.
        run: Holds its file, once it is trained.
    """

    are_shared = True

    def __init__(self, prepared: Prepared, run: RunDirectory) -> None:
        self._prepared, self._run = prepared, run

    @property
    def come_with_network(self) -> bool:
        """Whether the network existed before, or stays as it is made."""
        existed = any(isinstance(module, Converted) for module in self._prepared.supernet.modules())
        return existed or isinstance(self._prepared.study.training, NoTraining)

    @cached_property
    def digest(self) -> str:
        """Digest of the supernet's file."""
        return file_digest(self._run.supernet / WEIGHTS)

    def train(self, progress: Progress, ranks: Ranks = ALONE) -> float:
        """Train the supernet."""
        return train_supernet(self._prepared, self._run, progress, ranks)

    def load(self) -> None:
        """Load the supernet."""
        load_supernet(self._prepared, self._run)

    def find_basis(self, record: optuna.Study) -> EvaluationBasis:
        """Return the record's name: the supernet is all there is."""
        return EvaluationBasis(record.study_name)

    def evaluate(
        self, prepared: Prepared, architecture: Architecture, known: Known, basis: EvaluationBasis
    ) -> PartialEvaluation:
        """Cut a subnet, recalibrate and evaluate it."""
        model = compress_in_search(prepared, architecture, self.module(architecture))
        return evaluate_architecture(prepared, architecture, model, known)

    def module(self, architecture: Architecture) -> nn.Module:
        """Return a recalibrated subnet."""
        prepared = self._prepared
        items, network = prepared.study.recalibration, prepared.network_of(architecture)
        return extract_recalibrated(prepared.supernet, network, prepared.splits.train, items)

    def teacher(self) -> nn.Module:
        """Return the largest subnet."""
        return self.module(self._prepared.problem.space.largest())
