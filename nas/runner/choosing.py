"""Which of the architectures that were evaluated are finished."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from nas import pareto
from nas.errors import EvaluationError
from nas.protocols import Problem
from nas.runner.preparation import Prepared
from nas.runner.sparing import all_measured
from nas.search.record import (
    ReferenceBox,
    are_credible,
    complete_trials,
    costs_of,
    doubts,
    indices_of,
    reference_box,
)
from nas.search.stand_alone import expected_alone, stand_alone_values
from nas.space import FloatArray

logger = logging.getLogger(__name__)


def choose_winners(prepared: Prepared, record: optuna.Study) -> list[FrozenTrial]:
    """Return up to ``winners.count`` front members.

    Those that meet the soft limits, or the one nearest to that. The one of best quality first, then those that
    keep most of the front's hypervolume. Where the search knew what architectures reach on their own, the front
    is that of what all are expected to reach so. Those with values too good to be true, and
    those whose latency was only predicted, are left out.

    Raises:
        EvaluationError: all have such values.
    """
    problem, trials = prepared.problem, all_measured(prepared, complete_trials(record))
    trials = _credible_trials(problem, trials)
    searched = costs_of(problem.objectives, trials)
    numbers, indices = np.array([t.number for t in trials]), indices_of(problem.space, trials)
    costs = expected_alone(problem, stand_alone_values(record), numbers, indices, searched)
    front = np.flatnonzero(problem.front(costs))
    _warn_of_limits(problem, searched[front])
    stored = reference_box(record, problem.objectives) if costs is searched else None
    box = stored or ReferenceBox.around(costs)
    scaled = box.scaled(costs[front])
    best = int(np.argmin(scaled[:, 0]))
    rows = pareto.spread_subset(scaled, prepared.study.winners.count, box.reference, best)
    return [trials[front[row]] for row in rows]


def _credible_trials(problem: Problem, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    told = doubts(problem.objectives, trials)
    for sentence in told:
        logger.warning("%s", sentence)
    believed = are_credible(costs_of(problem.objectives, trials))
    if not believed.any():
        raise EvaluationError(f"there is no front: {told[0]}")
    return [trial for trial, keep in zip(trials, believed, strict=True) if keep]


def _warn_of_limits(problem: Problem, costs: FloatArray) -> None:
    if problem.excess(costs).any():
        limits = ", ".join(f"{name} of at most {limit:g}" for name, limit in problem.soft_limits.items())
        logger.warning("no architecture that was evaluated has %s: the nearest to that are finished", limits)
