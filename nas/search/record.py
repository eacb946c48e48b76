"""The Optuna study as the record of a search: what a trial's attributes mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas import pareto
from nas.choices import Option
from nas.objective import Measurement, Objective, excess_over
from nas.space import Architecture, FloatArray, IntArray, SearchSpace

PREDICTED, PREDICTED_FROM, NOTHING_LEFT = "predicted", "predicted_from", "nothing_left"
ARCHITECTURE, MEASUREMENTS, SECONDS = "architecture", "measurements", "seconds"
REPEATS, ERROR = "repeats", "error"
LOST, RETRIES, WORKER = "lost", "retries", "worker"
REFERENCE, LIMITS, SOFT_LIMITS, ENDED = "reference_box", "limits", "soft_limits", "ended"
_NUM_FOR_REFERENCE = 10
_FAR_OUT = 1000.0


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return the space as Optuna sees it: every choice, categorical, conditions left out."""
    return {c.name: CategoricalDistribution(c.options) for c in space.choices}


def by_completion(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return finished trials, the one that ended first first."""
    return sorted(trials, key=lambda trial: (trial.datetime_complete or datetime.max, trial.number))


def options_of(space: SearchSpace, trial: FrozenTrial) -> dict[str, Option] | None:
    """Return a trial's options, queued ones included; None while some are missing."""
    options = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    if any(choice.name not in options for choice in space.choices):
        return None
    return {choice.name: options[choice.name] for choice in space.choices}


def indices_of(space: SearchSpace, trials: Sequence[FrozenTrial]) -> IntArray:
    """Return canonical option positions of each trial, ``(n, num_choices)``."""
    return space.canonical(space.indices(trial.params for trial in trials))


def is_paid(trial: FrozenTrial) -> bool:
    """Whether an evaluation was spent: finished or failed, and no repeat.

    A trial whose worker died is failed too, but says nothing of its architecture and counts for nothing.
    """
    if trial.state == TrialState.FAIL:
        return LOST not in trial.user_attrs
    return trial.state == TrialState.COMPLETE and REPEATS not in trial.user_attrs


def has_values(trial: FrozenTrial) -> bool:
    """Whether a trial has finite values; Optuna itself takes an infinite one for a finished trial."""
    return trial.state == TrialState.COMPLETE and all(map(math.isfinite, trial.values))


def paid_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that an evaluation was spent on, oldest first."""
    return [trial for trial in study.get_trials(deepcopy=False) if is_paid(trial)]


def soft_limits(study: Study) -> Mapping[str, float]:
    """Return the largest feasible costs by objective, as the search stored them."""
    limits: Mapping[str, float] = study.user_attrs.get(SOFT_LIMITS, {})
    return limits


def front_of(study: Study, objectives: Sequence[Objective], costs: FloatArray) -> NDArray[np.int64]:
    """Return the rows of ``(n, num_objectives)`` costs that are on the front, within the study's soft limits."""
    excess = excess_over(soft_limits(study), objectives, costs)
    return np.flatnonzero(pareto.constrained_non_dominated(costs, excess))


def complete_trials(study: Study) -> list[FrozenTrial]:
    """Return the evaluated trials that have values, without repeats, oldest first."""
    return [trial for trial in paid_trials(study) if has_values(trial)]


def costs_of(objectives: Sequence[Objective], trials: Sequence[FrozenTrial]) -> FloatArray:
    """Return the trials' values to be minimised, ``(n, num_objectives)``."""
    rows = [[o.cost(v) for o, v in zip(objectives, trial.values, strict=True)] for trial in trials]
    return np.array(rows, dtype=np.float64).reshape(len(trials), len(objectives))


def architecture_of(space: SearchSpace, trial: FrozenTrial) -> Architecture:
    """Return the architecture that a trial is about."""
    return space.architecture(trial.params)


def measurements_of(trial: FrozenTrial) -> dict[str, Measurement]:
    """Return a finished trial's measurements by objective name."""
    stored: Mapping[str, Mapping[str, float | str | int]] = trial.user_attrs[MEASUREMENTS]
    return {name: Measurement(**values) for name, values in stored.items()}  # type: ignore[arg-type]


def predictions_of(trial: FrozenTrial) -> dict[str, list[float]]:
    """Return what a surrogate predicted for a trial before it was evaluated; {} if none did.

    By measured objective: the value, and those a standard deviation to either side.
    """
    predicted: dict[str, list[float]] = trial.system_attrs.get(PREDICTED, {})
    return predicted


def keep_prediction(
    study: Study, trial: FrozenTrial, predicted: Mapping[str, list[float]], num_learned: int
) -> None:
    """Store what a surrogate that has learned from so many trials predicts for a trial that is being proposed."""
    study._storage.set_trial_system_attr(trial._trial_id, PREDICTED, predicted)
    study._storage.set_trial_system_attr(trial._trial_id, PREDICTED_FROM, num_learned)


def wall_seconds(trials: Sequence[FrozenTrial]) -> float:
    """Return how long somebody was proposing and evaluating: trials at the same time count once.

    Interrupted attempts and the time between two runs don't count.
    """
    until, total = -math.inf, 0.0
    finished = [t for t in trials if t.datetime_complete is not None and SECONDS in t.user_attrs]
    ends = {t.number: t.datetime_complete.timestamp() for t in finished if t.datetime_complete is not None}
    for trial in sorted(finished, key=lambda t: ends[t.number]):
        end = ends[trial.number]
        total += end - min(max(end - float(trial.user_attrs[SECONDS]), until), end)
        until = end
    return total


def credible(costs: FloatArray) -> FloatArray:
    """Return ``(n, m)`` costs, n >= 1, in which those too good to be true are the worst there are.

    Too good is what lies below the first quartile by a thousand times the size of the quartiles, or of their
    distance: an overflow, an error of -1e12. One such value would be the whole front.
    """
    first, third = np.quantile(costs, [0.25, 0.75], axis=0)
    usual = np.maximum.reduce([third - first, np.abs(first), np.abs(third)])
    lowest = first - _FAR_OUT * np.where(usual > 0, usual, 1.0)
    return np.where(costs < lowest, costs.max(axis=0), costs)


@final
@dataclass(frozen=True)
class ReferenceBox:
    """The box that hypervolume is measured in: fixed once per study, so that runs compare.

    Args:
        best: ``(m,)`` lowest cost of each objective among the first ten evaluations.
        worst: ``(m,)`` highest that is not far out; the reference point lies a tenth of the range beyond it.
    """

    best: FloatArray
    worst: FloatArray

    @classmethod
    def around(cls, costs: FloatArray) -> ReferenceBox:
        """Return the box that ``(n, m)`` costs span, n >= 1.

        A cost is far out when it exceeds the third quartile by a thousand times the distance of the
        quartiles: a clock that stood still, an overflow. One such value would make the box so large that
        nothing else could be told apart in it.
        """
        first, third = np.quantile(costs, [0.25, 0.75], axis=0)
        usual = np.maximum(third - first, np.abs(third) / _FAR_OUT)
        near = np.where(costs <= third + _FAR_OUT * usual, costs, -np.inf)
        return cls(costs.min(axis=0), near.max(axis=0))

    def scaled(self, costs: FloatArray) -> FloatArray:
        """Return costs with 0 at ``best`` and 1 at ``worst``.

        Where these are equal, the unit is their absolute value, or 1 when they are 0.
        """
        extent = self.worst - self.best
        unit = np.where(self.worst == 0, 1.0, np.abs(self.worst))
        return (costs - self.best) / np.where(extent > 0, extent, unit)

    @property
    def reference(self) -> FloatArray:
        """The reference point, in scaled costs."""
        return np.full(len(self.best), 1.1)

    def hypervolume(self, costs: FloatArray) -> float:
        """Return the hypervolume of ``(n, m)`` costs, as a multiple of the box."""
        return pareto.hypervolume(self.scaled(costs), self.reference)

    def history(self, costs: FloatArray) -> list[float]:
        """Return the hypervolume after each row of costs in turn."""
        front = GrowingFront(self)
        return [front.add(row) for row in costs]


@final
class GrowingFront:
    """Hypervolume of costs that come one by one; a dominated one costs a comparison, not a computation.

    It never falls, not even by the error of an approximation.

    Args:
        box: To measure in.
    """

    def __init__(self, box: ReferenceBox) -> None:
        self._box = box
        self._members = np.zeros((0, len(box.best)))
        self.hypervolume = 0.0

    def add(self, cost: FloatArray) -> float:
        """Add ``(m,)`` costs and return the hypervolume with them."""
        if not (self._members <= cost).all(axis=1).any():
            kept = self._members[~(cost <= self._members).all(axis=1)]
            self._members = np.concatenate([kept, cost[None]])
            self.hypervolume = max(self.hypervolume, self._box.hypervolume(self._members))
        return self.hypervolume


def stored_box(study: Study) -> ReferenceBox | None:
    """Return the study's box, for who only reads; None before :func:`reference_box` has made it."""
    stored = study.user_attrs.get(REFERENCE)
    return None if stored is None else ReferenceBox(np.array(stored[0]), np.array(stored[1]))


def reference_box(study: Study, objectives: Sequence[Objective]) -> ReferenceBox | None:
    """Return the study's box; made and stored at the tenth finished evaluation, None before."""
    box = stored_box(study)
    if box is None:
        trials = complete_trials(study)[:_NUM_FOR_REFERENCE]
        if len(trials) < _NUM_FOR_REFERENCE:
            return None
        box = ReferenceBox.around(credible(costs_of(objectives, trials)))
        study.set_user_attr(REFERENCE, [box.best.tolist(), box.worst.tolist()])
    return box
