"""A search with few latency measurements: the others are predictions, and marked as such.

Which latencies were measured is read from the record alone, so a resumed search decides alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.devices.latency_features import Known, know_nothing
from nas.devices.latency_model import HeldOut, LatencyModel, LatencyPrediction
from nas.objective import Measurement
from nas.search.record.credibility import credible_front
from nas.search.record.reference_box import ReferenceBox
from nas.search.record.trials import LIMITS, complete_trials, costs_of, indices_of, measurements_of
from nas.space import Architecture, FloatArray, IntArray
from nas.strategy import Problem

_SHARE_AT_START, _SHARE_FOR_THE_END = 1 / 4, 3 / 5
"""Shares of all measurements, with which ``benchmarks/few_measurements.py`` measures the search; no others are on
record. Without a start nothing can be predicted; without the end, winners would be chosen by predictions."""
_LEAST_AT_START = 8
"""Fewer teach a model of latency nothing, and leave nothing to hold out."""
_NUM_REFERENCE = 256
"""Random architectures by which the latency model scales its features. Chosen: means and deviations of features are
known from far fewer."""


@final
@dataclass(frozen=True)
class Spare:
    """How few measurements of an objective a search makes.

    Args:
        name: Name of the objective, which is minimised and above 0.
        measurements: Number of measurements, those at the end of the search included.
        known: What is known of any architecture besides its options.
    """

    name: str
    measurements: int
    known: Known = know_nothing


@final
@dataclass(frozen=True)
class SparedBasis:
    """What the decision to measure or predict depends on, read from the record when an evaluation begins.

    Args:
        positions: ``(n, num_choices)`` of the architectures whose latency was measured.
        measured: Their latencies.
        costs: ``(t, m)`` of all finished trials.
        must_measure: Whether too little is known to predict from.
        may_measure: Whether measurements are left for now.
    """

    positions: IntArray
    measured: tuple[Measurement, ...]
    costs: FloatArray
    must_measure: bool
    may_measure: bool


@final
class SparedLatency:
    """Says which latencies of a search are worth measuring, and predicts the others.

    A quarter of all measurements go to the first evaluations. After these a candidate is only measured if its latency
    matters, that is, if it would be on the front with the lower end of its predicted interval, and if its share of the
    measurements is not used up. Three fifths are kept for the end of the search: winners are chosen among architectures
    whose latency was measured, so members of the front whose latency was only predicted are measured then.

    Candidates that are evaluated at the same time are decided on independently. Until predictions are possible, all are
    measured.

    Args:
        problem: What is searched.
        spare: How few measurements there are.
    """

    def __init__(self, problem: Problem, spare: Spare) -> None:
        self._problem, self._spare = problem, spare
        self._column = [o.name for o in problem.objectives].index(spare.name)
        reference = problem.space.sample_indices(_NUM_REFERENCE, np.random.default_rng(0))
        self._model = LatencyModel(problem.space, spare.known, reference)
        self._learned = b""
        self.held_out: HeldOut | None = None

    @property
    def name(self) -> str:
        """Name of the objective."""
        return self._spare.name

    def find_basis(self, record: optuna.Study) -> SparedBasis:
        """Return what the decision about the next candidate depends on; its trial is running already."""
        trials = complete_trials(record)
        measured = self.list_measured(trials)
        others = len(record.get_trials(deepcopy=False, states=(TrialState.RUNNING,))) - 1
        taken = len(measured) + max(others, 0)
        return SparedBasis(
            positions=indices_of(self._problem.space, measured),
            measured=tuple(measurements_of(trial)[self.name] for trial in measured),
            costs=costs_of(self._problem.objectives, trials),
            must_measure=len(measured) < _LEAST_AT_START or taken < self._num_at_start,
            may_measure=taken < self._count_allowed(record, len(trials) + max(others, 0)),
        )

    def predict(
        self, basis: SparedBasis, architecture: Architecture, others: Mapping[str, Measurement]
    ) -> Measurement | None:
        """Return the latency of a candidate; None where it is to be measured.

        Args:
            basis: How the search stands.
            architecture: The candidate.
            others: What is known of its other objectives.
        """
        if basis.must_measure:
            return None
        found = self._predict(basis, self._problem.space.indices([architecture]))
        if basis.may_measure and self._decides(basis.costs, others, float(found.low[0])):
            return None
        text = f"predicted from {len(basis.measured)} measured on {basis.measured[0].device}"
        unit = self._problem.objectives[self._column].unit
        return Measurement(float(found.ms[0]), float(found.std[0]), unit, text, 0)

    def list_measured(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the trials whose latency was measured."""
        return [t for t in trials if measurements_of(t)[self.name].repeats > 0]

    @property
    def _num_at_start(self) -> int:
        budget = self._spare.measurements
        return min(budget, max(_LEAST_AT_START, round(_SHARE_AT_START * budget)))

    def _count_allowed(self, record: optuna.Study, num_trials: int) -> float:
        """Return how many measurements are allowed after a number of trials."""
        evaluations = int(record.user_attrs[LIMITS]["evaluations"])
        begun = self._num_at_start
        middle = (1 - _SHARE_FOR_THE_END) * self._spare.measurements - begun
        share = (num_trials - begun + 1) / max(evaluations - begun, 1)
        return begun + max(middle, 0.0) * min(share, 1.0)

    def _decides(self, costs: FloatArray, others: Mapping[str, Measurement], least: float) -> bool:
        """Whether a candidate may be on the front, if its latency is the least of its interval."""
        best = np.array(
            [
                o.cost(others[o.name].value) if o.name in others else costs[:, column].min()
                for column, o in enumerate(self._problem.objectives)
            ]
        )
        best[self._column] = least
        return not bool(((costs <= best).all(axis=1) & (costs < best).any(axis=1)).any())

    def _predict(self, basis: SparedBasis, indices: IntArray) -> LatencyPrediction:
        """Predict latencies from the measured ones."""
        ms = np.array([measurement.value for measurement in basis.measured])
        content = basis.positions.tobytes() + ms.tobytes()
        if content != self._learned:
            self.held_out = self._model.fit(basis.positions, ms)
            self._learned = content
        return self._model.predict(indices)

    def list_unsettled(self, record: optuna.Study) -> list[FrozenTrial]:
        """Return the trials to measure next before winners are chosen; none when all is settled.

        Those that are on the front by what they were predicted, or would be by what the model says now: as many as
        measurements are left, of most hypervolume, a third of these at a time, because each tells more of the others.
        """
        trials = complete_trials(record)
        measured = self.list_measured(trials)
        left = self._spare.measurements - len(measured)
        numbers = {t.number for t in measured}
        rows = np.array([row for row, t in enumerate(trials) if t.number not in numbers], dtype=np.int64)
        if left <= 0 or not len(rows) or len(measured) < 2:
            return []
        costs = costs_of(self._problem.objectives, trials)
        told_as_front = credible_front(costs, self._problem.excess(costs))
        costs[rows, self._column] = self._predict(
            self.find_basis(record), indices_of(self._problem.space, trials)[rows]
        ).ms
        front = credible_front(costs, self._problem.excess(costs)) | told_as_front
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
