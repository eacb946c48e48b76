"""Chooses the winners: which of the evaluated architectures are finished."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from nas import pareto
from nas.compression.pipeline import Pipeline
from nas.errors import EvaluationError
from nas.runner.preparation import Prepared
from nas.runner.sparing import select_measured
from nas.search.models.stand_alone import expect_alone, stand_alone_values
from nas.search.record.credibility import are_credible, doubts
from nas.search.record.reference_box import ReferenceBox, reference_box
from nas.search.record.trials import architecture_of, complete_trials, costs_of, indices_of
from nas.space import Architecture, FloatArray
from nas.strategy import Problem

logger = logging.getLogger(__name__)


def choose_winners(
    prepared: Prepared, record: optuna.Study, adapted: Mapping[int, float] = MappingProxyType({})
) -> list[FrozenTrial]:
    """Return up to ``winners.count`` front members, whose networks differ before the passes on the file.

    Those that meet the soft limits, or the one nearest to that. The one of best quality first, then those that
    keep most of the front's hypervolume. Where the search knew what architectures reach on their own, the front
    is that of what all are expected to reach so. Those with values too good to be true, and
    those whose latency was only predicted, are left out.

    Args:
        prepared: What was searched.
        record: What was found.
        adapted: The quality after a few steps of training, by trial number: winners are of these trials, and of their
            front; empty where the search's values count.

    Raises:
        EvaluationError: all have such values.
    """
    problem = prepared.problem
    for sentence in doubts(problem.objectives, select_measured(prepared, complete_trials(record))):
        logger.warning("%s", sentence)
    trials = _eligible_trials(prepared, record)
    if adapted:
        trials = [trial for trial in trials if trial.number in adapted]
        costs = costs_of(problem.objectives, trials)
        costs[:, 0] = [problem.objectives[0].cost(adapted[trial.number]) for trial in trials]
        return _spread_front(prepared, trials, costs, ReferenceBox.around(costs))
    searched, expected = costs_of(problem.objectives, trials), _expect(prepared, record, trials)
    costs = searched if expected is None else expected
    stored = reference_box(record, problem.objectives) if expected is None else None
    return _spread_front(prepared, trials, costs, stored or ReferenceBox.around(costs))


def goes_by_expectation(prepared: Prepared, record: optuna.Study) -> bool:
    """Whether winners are chosen by what architectures are expected to reach on their own."""
    if not stand_alone_values(record):
        return False
    return _expect(prepared, record, _eligible_trials(prepared, record)) is not None


def _expect(prepared: Prepared, record: optuna.Study, trials: Sequence[FrozenTrial]) -> FloatArray | None:
    """Return the costs that trials are expected to have on their own; None where the values of the search count."""
    problem = prepared.problem
    searched = costs_of(problem.objectives, trials)
    numbers, indices = np.array([t.number for t in trials]), indices_of(problem.space, trials)
    costs = expect_alone(problem, stand_alone_values(record), numbers, indices, searched)
    return None if costs is searched else costs


def near_front(prepared: Prepared, record: optuna.Study, count: int) -> list[FrozenTrial]:
    """Return up to so many trials: of the front, then of the front of what is left, and so on.

    Of a front that is too large, those that keep most of its hypervolume. Only trials that may be winners.
    """
    problem, trials = prepared.problem, _eligible_trials(prepared, record)
    costs = costs_of(problem.objectives, trials)
    box = reference_box(record, problem.objectives) or ReferenceBox.around(costs)
    scaled, left, found = box.scale(costs), np.arange(len(trials)), list[int]()
    while len(found) < count and len(left):
        on_front = problem.front(costs[left])
        front = left[on_front]
        best = int(np.argmin(scaled[front, 0]))
        rows = pareto.spread_subset(scaled[front], count - len(found), box.reference, best)
        found += [int(front[row]) for row in rows]
        left = left[~on_front]
    return [trials[row] for row in found]


def _spread_front(
    prepared: Prepared, trials: Sequence[FrozenTrial], costs: FloatArray, box: ReferenceBox
) -> list[FrozenTrial]:
    """Return the winners among trials with such costs."""
    front = np.flatnonzero(prepared.problem.front(costs))
    _warn_of_limits(prepared.problem, costs_of(prepared.problem.objectives, trials)[front])
    scaled = box.scale(costs[front])
    best = int(np.argmin(scaled[:, 0]))
    members = [trials[int(row)] for row in front]
    networks = [_network_to_finish(prepared, trial) for trial in members]
    count, distinct = prepared.study.winners.count, len(set(networks)) == len(networks)
    ranked = pareto.spread_subset(scaled, count if distinct else len(members), box.reference, best)
    chosen: dict[Architecture, FrozenTrial] = {}
    for row in ranked:
        chosen.setdefault(networks[row], members[row])
    return list(chosen.values())[:count]


def _network_to_finish(prepared: Prepared, trial: FrozenTrial) -> Architecture:
    """Return an architecture without the options of the passes on the file: each file is made of one training."""
    space, row = prepared.problem.space, Pipeline(*prepared.study.pipeline.on_file)
    return space.architecture({**architecture_of(space, trial), **row.space.largest()})


def _eligible_trials(prepared: Prepared, record: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that may be winners: with values that were measured and can be believed."""
    trials, objectives = select_measured(prepared, complete_trials(record)), prepared.problem.objectives
    believed = are_credible(costs_of(objectives, trials))
    if not believed.any():
        raise EvaluationError(f"there is no front: {doubts(objectives, trials)[0]}")
    return [trial for trial, keep in zip(trials, believed, strict=True) if keep]


def _warn_of_limits(problem: Problem, costs: FloatArray) -> None:
    if problem.excess(costs).any():
        limits = ", ".join(f"{name} of at most {limit:g}" for name, limit in problem.soft_limits.items())
        logger.warning("no architecture that was evaluated has %s: the nearest to that are finished", limits)
