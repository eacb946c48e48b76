"""The Optuna study as the record of a search: what a trial's attributes mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas import pareto
from nas.objective import Measurement, Objective
from nas.space import Architecture, FloatArray, IntArray, SearchSpace

ARCHITECTURE, MEASUREMENTS, SECONDS = "architecture", "measurements", "seconds"
REPEATS, ERROR = "repeats", "error"
REFERENCE = "reference_box"
_NUM_FOR_REFERENCE = 10


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return the space as Optuna sees it: every choice, categorical, conditions left out."""
    return {c.name: CategoricalDistribution(c.options) for c in space.choices}


def indices_of(space: SearchSpace, trials: Sequence[FrozenTrial]) -> IntArray:
    """Return canonical option positions of each trial, ``(n, num_choices)``."""
    return space.canonical(space.indices(trial.params for trial in trials))


def is_paid(trial: FrozenTrial) -> bool:
    """Whether an evaluation was spent: finished or failed, and no repeat."""
    spent = trial.state in (TrialState.COMPLETE, TrialState.FAIL)
    return spent and REPEATS not in trial.user_attrs


def paid_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that an evaluation was spent on, oldest first."""
    return [trial for trial in study.get_trials(deepcopy=False) if is_paid(trial)]


def complete_trials(study: Study) -> list[FrozenTrial]:
    """Return the evaluated trials that have values, without repeats, oldest first."""
    return [trial for trial in paid_trials(study) if trial.state == TrialState.COMPLETE]


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


@final
@dataclass(frozen=True)
class ReferenceBox:
    """The box that hypervolume is measured in: fixed once per study, so that runs compare.

    Args:
        best: ``(m,)`` lowest cost of each objective among the first ten evaluations.
        worst: ``(m,)`` highest; the reference point lies a tenth of the range beyond it.
    """

    best: FloatArray
    worst: FloatArray

    @classmethod
    def around(cls, costs: FloatArray) -> ReferenceBox:
        """Return the box that ``(n, m)`` costs span, n >= 1."""
        return cls(costs.min(axis=0), costs.max(axis=0))

    def scaled(self, costs: FloatArray) -> FloatArray:
        """Return costs with 0 at ``best`` and 1 at ``worst``; where these are equal, in units of ``worst``."""
        extent = self.worst - self.best
        size = np.maximum(np.abs(self.worst), 1e-12)
        return (costs - self.best) / np.where(extent > 0, extent, size)

    @property
    def reference(self) -> FloatArray:
        """The reference point, in scaled costs."""
        return np.full(len(self.best), 1.1)

    def hypervolume(self, costs: FloatArray) -> float:
        """Return the hypervolume of ``(n, m)`` costs, as a multiple of the box."""
        return pareto.hypervolume(self.scaled(costs), self.reference)

    def history(self, costs: FloatArray) -> list[float]:
        """Return the hypervolume after each row of costs in turn."""
        return [self.hypervolume(costs[: count + 1]) for count in range(len(costs))]


def reference_box(study: Study, objectives: Sequence[Objective]) -> ReferenceBox | None:
    """Return the study's box; made and stored at the tenth finished evaluation, None before."""
    stored = study.user_attrs.get(REFERENCE)
    if stored is None:
        trials = complete_trials(study)[:_NUM_FOR_REFERENCE]
        if len(trials) < _NUM_FOR_REFERENCE:
            return None
        box = ReferenceBox.around(costs_of(objectives, trials))
        stored = [box.best.tolist(), box.worst.tolist()]
        study.set_user_attr(REFERENCE, stored)
    return ReferenceBox(np.array(stored[0]), np.array(stored[1]))
