"""Counting a study's architectures: networks, and how each is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np

from nas.evaluation import NetworkCounter
from nas.evaluation.costs import TRAINING_PASSES
from nas.evaluation.from_scratch import EPOCHS_CHOICE
from nas.objectives import Counts
from nas.space import FloatArray, IntArray, SearchSpace
from nas.study import Study


@final
@dataclass(frozen=True)
class StudyCounter:
    """Counts the architectures of a study.

    Args:
        study: Says which choices join those of the network, and how candidates are trained.
        own: The network's choices, the first columns of the study's.
        network: Counts by these.
        num_items: In the training split.
    """

    study: Study
    own: SearchSpace
    network: NetworkCounter
    num_items: int

    @cached_property
    def space(self) -> SearchSpace:
        """All choices of the study: the network's, then those that join them."""
        own, added = self.own, self.study.added_space
        return SearchSpace((*own.choices, *added.choices), {**own.conditions, **added.conditions})

    def counts(self, indices: IntArray) -> Counts:
        """Return exact counts of ``(n, num_choices)`` positions, before any pass."""
        counts = self.network.counts(indices[:, : len(self.own.choices)])
        if not self.study.knows_training:
            return counts
        steps = TRAINING_PASSES * float(self.num_items) * self._epochs(indices)
        return replace(counts, training_macs=steps * counts.macs)

    def _epochs(self, indices: IntArray) -> FloatArray:
        """Return for how many epochs each architecture is trained, ``(n,)``."""
        for column, choice in enumerate(self.space.choices):
            if choice.name == EPOCHS_CHOICE:
                return np.array(choice.options, dtype=np.float64)[indices[:, column]]
        return np.full(len(indices), float(self.study.recipe.epochs))
