"""A search with few latency measurements: the rest are predicted, and said to be.

Which latencies were measured is read from the record alone, so a resumed search and other workers decide alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from nas.devices.latency_features import Known, nothing_known
from nas.devices.latency_model import HeldOut, LatencyModel, LatencyPrediction
from nas.objective import Measurement
from nas.protocols import Problem
from nas.search.record import (
    LIMITS,
    ReferenceBox,
    complete_trials,
    costs_of,
    credible_front,
    indices_of,
    measurements_of,
)
from nas.space import Architecture, FloatArray, IntArray

_SHARE_AT_START = 1 / 4
_LEAST_AT_START = 8
_SHARE_FOR_THE_END = 3 / 5


@final
@dataclass(frozen=True)
class Spare:
    """How few measurements of an objective a search makes.

    Args:
        name: Of the objective, which is minimised and above 0.
        measurements: How many, those at the end of the search included.
        known: What is known of any architecture besides its options.
    """

    name: str
    measurements: int
    known: Known = nothing_known


@final
class SparedLatency:
    """Says which latencies of a search are worth measuring, and predicts the others.

    The first evaluations are measured, a quarter of all measurements. From then on a candidate is measured where its
    latency decides something: where it would be on the front if it were as fast as its interval allows, and not
    surely, and as far as measurements are left for the evaluations to come. Three fifths are kept for the end: winners
    are chosen from what was measured, so members of the front whose latency was only predicted are measured then.

    Args:
        record: The search's study.
        problem: What is searched.
        spare: How few measurements there are.
    """

    def __init__(self, record: optuna.Study, problem: Problem, spare: Spare) -> None:
        self._record, self._problem, self._spare = record, problem, spare
        self._column = [o.name for o in problem.objectives].index(spare.name)
        reference = problem.space.sample_indices(512, np.random.default_rng(0))
        self._model = LatencyModel(problem.space, spare.known, reference)
        self._learned: frozenset[int] = frozenset()
        self.held_out: HeldOut | None = None

    def predicted(self, architecture: Architecture, others: Mapping[str, Measurement]) -> Measurement | None:
        """Return the latency of a candidate; None where it is to be measured.

        Args:
            architecture: The candidate.
            others: What is known of its other objectives.
        """
        trials = complete_trials(self._record)
        measured = self.measured(trials)
        if len(measured) < self._num_at_start:
            return None
        indices = self._problem.space.indices([architecture])
        found = self._predict(measured, indices)
        if len(measured) < self._allowed(len(trials)) and self._decides(trials, others, found):
            return None
        return self._told(found, 0, measured)

    def measured(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the trials whose latency was measured."""
        return [t for t in trials if measurements_of(t)[self._spare.name].repeats > 0]

    @property
    def _num_at_start(self) -> int:
        budget = self._spare.measurements
        return min(budget, max(_LEAST_AT_START, round(_SHARE_AT_START * budget)))

    def _allowed(self, num_trials: int) -> float:
        """Return how many measurements may have been made when so many evaluations are."""
        evaluations = int(self._record.user_attrs[LIMITS]["evaluations"])
        begun = self._num_at_start
        middle = (1 - _SHARE_FOR_THE_END) * self._spare.measurements - begun
        share = (num_trials - begun + 1) / max(evaluations - begun, 1)
        return begun + max(middle, 0.0) * min(share, 1.0)

    def _decides(
        self, trials: Sequence[FrozenTrial], others: Mapping[str, Measurement], found: LatencyPrediction
    ) -> bool:
        """Whether a candidate may be on the front, as far as its interval allows."""
        costs = costs_of(self._problem.objectives, trials)
        best = np.array(
            [
                found.low[0] if o.name == self._spare.name else o.cost(others[o.name].value)
                for o in self._problem.objectives
            ]
        )
        return not bool(((costs <= best).all(axis=1) & (costs < best).any(axis=1)).any())

    def _predict(self, measured: Sequence[FrozenTrial], indices: IntArray) -> LatencyPrediction:
        """Return what the measured trials say of others."""
        numbers = frozenset(t.number for t in measured)
        if numbers != self._learned:
            ms = np.array([measurements_of(t)[self._spare.name].value for t in measured])
            self.held_out = self._model.fit(indices_of(self._problem.space, measured), ms)
            self._learned = numbers
        return self._model.predict(indices)

    def _told(self, found: LatencyPrediction, row: int, measured: Sequence[FrozenTrial]) -> Measurement:
        device = measurements_of(measured[0])[self._spare.name].device
        text = f"predicted from {len(measured)} measured on {device}"
        unit = self._problem.objectives[self._column].unit
        return Measurement(float(found.ms[row]), float(found.std[row]), unit, text, 0)

    def unsettled(self) -> list[FrozenTrial]:
        """Return the trials to measure next before winners are chosen; none when all is settled.

        Those that would be on the front by what the model says now, and are not measured yet: as many as measurements
        are left, of most hypervolume, a third of these at a time, because each tells more of the others.
        """
        trials = complete_trials(self._record)
        measured = self.measured(trials)
        left = self._spare.measurements - len(measured)
        numbers = {t.number for t in measured}
        rows = np.array([row for row, t in enumerate(trials) if t.number not in numbers], dtype=np.int64)
        if left <= 0 or not len(rows) or len(measured) < 2:
            return trials[: max(left, 0)]
        costs = costs_of(self._problem.objectives, trials)
        costs[rows, self._column] = self._predict(measured, indices_of(self._problem.space, trials)[rows]).ms
        front = credible_front(costs, self._problem.excess(costs))
        box = ReferenceBox.around(costs[front])
        known = np.flatnonzero([t.number in numbers for t in trials])
        chosen = _most_hypervolume(box, costs[known], costs[rows[front[rows]]], math.ceil(left / 3))
        return [trials[row] for row in rows[front[rows]][chosen]]


def _most_hypervolume(box: ReferenceBox, known: FloatArray, others: FloatArray, count: int) -> list[int]:
    """Return which of ``(n, m)`` costs, up to ``count``, add most hypervolume to known ones, one after the other."""
    chosen: list[int] = []
    while len(chosen) < min(count, len(others)):
        together = np.concatenate([known, others[chosen]])
        left = [row for row in range(len(others)) if row not in chosen]
        gains = [box.hypervolume(np.concatenate([together, others[[row]]])) for row in left]
        chosen.append(left[int(np.argmax(gains))])
    return chosen
