"""Finds workers whose results don't fit those of the others; what they evaluated is evaluated again."""

from __future__ import annotations

import os
import socket
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import final

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas.choices import Option
from nas.objective import Measurement
from nas.search.record.trials import BROKEN, WORKER, complete_trials, is_measured_later
from nas.space import FloatArray, IntArray
from nas.strategy import Problem

_FEWEST = 8
"""Results that it takes before one can be told from the others."""
_NEIGHBOURS = 5
"""The median over so many isn't moved by two that are wrong."""
_QUANTILE, _FACTOR = 0.75, 5.0
"""A slope is suspicious that is so many times this quantile of the slopes so far (``benchmarks/broken_worker.py``)."""
_SAMPLED_EVERY = 16
"""Which of a worker's results is evaluated again though nobody doubts it. Chosen: it costs a sixteenth of the
evaluations; a worker whose results are all off by the same is found at its first result, or this much later."""
_CHEAP_S = 10.0
"""An evaluation that takes longer isn't repeated here without a doubt, because the process could evaluate another
architecture meanwhile. Chosen."""
_DEVIATIONS = 3.0
"""Two evaluations of one architecture may differ by so many; a supernet's differ by rounding alone."""
_SINCE = uuid.uuid4().hex[:8]
"""A later process may get the number of an earlier one."""


def this_worker() -> str:
    """Return the name of this process among those that evaluate."""
    return f"process {os.getpid()} ({_SINCE}) on {socket.gethostname()}"


def end_worker() -> None:
    """End this process as if it had crashed, so that its executor starts another worker and repeats the job there."""
    os._exit(1)


def broken_workers(study: Study) -> frozenset[str]:
    """Return the names of the workers that were found to be broken."""
    return frozenset(study.user_attrs.get(BROKEN, ()))


def condemn(study: Study, worker: str) -> None:
    """Store that a worker is broken."""
    study.set_user_attr(BROKEN, sorted(broken_workers(study) | {worker}))


def list_trials_to_recheck(study: Study) -> list[FrozenTrial]:
    """Return the trials of broken workers that were not evaluated again yet, oldest first."""
    broken = broken_workers(study)
    if not broken:
        return []
    return [
        trial
        for trial in complete_trials(study)
        if trial.user_attrs.get(WORKER) in broken and not is_measured_later(study, trial.number, 0)
    ]


def tell_of_broken(study: Study) -> list[str]:
    """Return a sentence that names broken workers and the trials that they evaluated; none where all are sound."""
    broken = sorted(broken_workers(study))
    if not broken:
        return []
    numbers = [str(t.number) for t in complete_trials(study) if t.user_attrs.get(WORKER) in broken]
    again = f", and what they found in trials {', '.join(numbers)} was evaluated again" if numbers else ""
    return [
        f"workers found other values than the run's own process and were ended ({', '.join(broken)}){again}: look "
        "after their machines."
    ]


def differ(one: Measurement, other: Measurement) -> bool:
    """Whether two evaluations of an architecture differ by more than noise."""
    tolerance = _DEVIATIONS * max(one.spread, other.spread) + 1e-6 * abs(other.value)
    return abs(one.value - other.value) > tolerance


@final
class WorkerGuard:
    """Finds doubtful results with a variant of Kardam's Lipschitz filter for gradients (Damaskinos 2018).

    Similar architectures have similar qualities. So a result is doubtful if its slope to the nearest architectures, the
    difference of costs over the distance, is much larger than usual and can't be explained by noise. A worker's first
    result and every sixteenth after it are checked too, because a worker whose results are all wrong by the same amount
    has ordinary slopes. A doubtful result is checked by a second evaluation. If the two differ by more than their
    spread, the worker is broken.

    Args:
        study: The record.
        problem: What is searched.
    """

    def __init__(self, study: Study, problem: Problem) -> None:
        self._study, self._space, self._quality = study, problem.space, problem.objectives[0]
        self._scale = np.maximum(np.array([len(c.options) - 1 for c in problem.space.choices]), 1)
        self._heard = Counter[str]()
        self.read()

    def read(self) -> None:
        """Start again with the results in the record that are believed."""
        self._rows, self._costs = np.zeros((0, len(self._scale))), np.zeros(0)
        self._slopes: list[float] = []
        again = {trial.number for trial in list_trials_to_recheck(self._study)}
        for trial in complete_trials(self._study):
            if trial.number not in again:
                self.note(trial.params, trial.values[0])

    def note(self, params: Mapping[str, Option], quality: float) -> None:
        """Add a result that is believed."""
        row, cost = self._row(params), self._quality.cost(quality)
        if len(self._rows) >= _NEIGHBOURS:
            self._slopes.append(self._slope(row, cost))
        self._rows = np.concatenate([self._rows, row[None]])
        self._costs = np.append(self._costs, cost)

    def doubts(self, worker: str, params: Mapping[str, Option], quality: Measurement, seconds: float) -> bool:
        """Whether a worker's result is to be checked by a second evaluation; called once for each result.

        Args:
            worker: Name of the worker.
            params: Options of the architecture that was evaluated.
            quality: What it found.
            seconds: How long that took.
        """
        self._heard[worker] += 1
        if self._heard[worker] % _SAMPLED_EVERY == 1 and seconds < _CHEAP_S:
            return True
        if len(self._rows) < _FEWEST:
            return False
        row, cost = self._row(params), self._quality.cost(quality.value)
        usual = float(np.quantile(self._slopes, _QUANTILE))
        is_noise = abs(np.median(self._costs[self._nearest(row)[0]]) - cost) <= _DEVIATIONS * quality.spread
        return not is_noise and self._slope(row, cost) > _FACTOR * usual

    def _row(self, params: Mapping[str, Option]) -> FloatArray:
        row: FloatArray = self._space.canonical(self._space.indices([params]))[0] / self._scale
        return row

    def _nearest(self, row: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return which architectures are nearest, and how far away they are."""
        distances = np.abs(self._rows - row).sum(axis=1)
        nearest = np.argsort(distances, kind="stable")[:_NEIGHBOURS]
        # The next option of one choice with many is no nearer than a tenth.
        return nearest, np.maximum(distances[nearest], 0.1)

    def _slope(self, row: FloatArray, cost: float) -> float:
        nearest, distances = self._nearest(row)
        return float(np.median(np.abs(self._costs[nearest] - cost) / distances))
