"""Proposals that were prepared in advance, so that a proposal is a look-up however long preparing takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas.search.models.proposals import any_fresh
from nas.search.record.trials import keep_prediction, options_of
from nas.space import IntArray
from nas.strategy import Problem


@final
@dataclass(frozen=True)
class _Prepared:
    """Prepared proposals, best first.

    Args:
        rows: ``(n, num_choices)`` canonical positions that meet the hard constraints.
        predicted: A surrogate's predictions of each; empty if there was none.
        num_learned: Number of trials that the surrogate has learned from.
        widening: By objective, what the deviations of these predictions were multiplied by.
    """

    rows: IntArray
    predicted: Sequence[Mapping[str, list[float]]]
    num_learned: int
    widening: Mapping[str, float]


@final
class Ahead:
    """Prepared architectures, of which it proposes the first one that no trial holds.

    Args:
        problem: Space and constraints.
        designs: ``(n, num_choices)`` what to propose first.
    """

    def __init__(self, problem: Problem, designs: IntArray) -> None:
        self._problem = problem
        self._prepared = _Prepared(designs, [], 0, {})
        self._seen: dict[int, bytes] = {}

    def take(
        self,
        rows: IntArray,
        predicted: Sequence[Mapping[str, list[float]]],
        num_learned: int,
        widening: Mapping[str, float],
    ) -> None:
        """Replace the prepared architectures."""
        self._prepared = _Prepared(rows, predicted, num_learned, widening)

    def propose(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> IntArray | None:
        """Return the first that no other trial holds, or a random one if all are held; None if none is left."""
        prepared, seen = self._prepared, self._find_held(study, trial)
        for position, row in enumerate(prepared.rows):
            if row.tobytes() not in seen:
                if prepared.predicted:
                    keep_prediction(
                        study, trial, prepared.predicted[position], prepared.num_learned, prepared.widening
                    )
                return np.asarray(row)
        return any_fresh(self._problem, seen, rng)

    def _find_held(self, study: Study, trial: FrozenTrial) -> set[bytes]:
        """Return ``tobytes()`` of what other trials hold; each trial is read once, because its options don't change."""
        space = self._problem.space
        self._seen.pop(trial.number, None)
        for other in study.get_trials(deepcopy=False):
            if other.number in self._seen or other.number == trial.number:
                continue
            options = options_of(space, other)
            if options is not None:
                self._seen[other.number] = space.canonical(space.indices([options]))[0].tobytes()
        return set(self._seen.values())
