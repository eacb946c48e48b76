"""A study as its strategy sees it: the problem, whether it can be solved at all, and the sampler that solves it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from optuna.samplers import BaseSampler

from nas.checks import check_kind, failing_as
from nas.errors import InfeasibleError, StudyError
from nas.evaluation.costs import count_costs
from nas.objective import relative_excess
from nas.objectives import CountedObjective
from nas.runner.counting import StudyCounter
from nas.search.models.designs import downhill, draw_tilted_samples
from nas.space import Architecture, FloatArray, IntArray
from nas.strategy import Problem
from nas.study import Study

_DRAWN_AT_ONCE = 16
"""Chosen: where a tenth of the space meets the constraints, one of so many nearly always does. Where fewer do, the best
of them is led downhill, which counts its neighbours again and again."""
_DRAWN_TO_CHECK = 4000
"""Chosen: counted from tables in a moment. Where none of so many is feasible, the best of them is led downhill too."""


def problem_of(study: Study, counting: StudyCounter) -> Problem:
    """Return what a strategy sees of a study."""
    free = [o for o in study.objectives if isinstance(o, CountedObjective) and study.knows_ahead(o)]
    turns = threading.Lock()  # samplers count in a thread too, and a network is one architecture at a time

    def count(indices: IntArray) -> dict[str, FloatArray]:
        with turns:
            counts = counting.counts(indices)
        return {o.objective.name: count_costs(o, counts) for o in free}

    def violation(indices: IntArray) -> FloatArray:
        if not study.hard_limits:
            return np.zeros(len(indices))
        with turns:
            counts = counting.counts(indices)
        excess = [
            relative_excess(count_costs(quantity, counts), at_most) for quantity, at_most in study.hard_limits
        ]
        return np.asarray(np.sum(excess, axis=0), dtype=np.float64)

    objectives = tuple(o.objective for o in study.objectives)
    return Problem(counting.space, objectives, count, violation, study.soft_limits)


def make_sampler(study: Study, problem: Problem) -> BaseSampler:
    """Return a new sampler of the study's strategy.

    Raises:
        StudyError: the strategy raised, or made something else.
    """
    what = f"sampler() of the strategy of study {study.name!r}"
    with failing_as(StudyError, f"{what} failed", "mend it"):
        sampler = study.strategy.sampler(problem, study.seed)
    check_kind(what, "result", sampler, BaseSampler, "a sampler of Optuna's")
    return sampler


def check_feasible(
    problem: Problem, limits: Sequence[tuple[CountedObjective, float]], counting: StudyCounter
) -> None:
    """Look for one feasible architecture: the ends, many samples, then downhill from the best of them.

    Raises:
        InfeasibleError: there is none; says what the closest one costs.
    """
    if not limits:
        return
    space = problem.space
    # Not the study's seed: whether a study can be solved must not depend on it.
    rng = np.random.default_rng(0)
    ends = space.indices([space.smallest(), space.largest()])
    rows = np.concatenate([ends, draw_tilted_samples(problem, _DRAWN_TO_CHECK, rng)])
    closest, violation = downhill(problem, rows[np.argmin(problem.violation(rows))])
    if violation > 0:
        counts = counting.counts(closest[None])
        found = "; ".join(
            f"{quantity.objective.name} is {_format(count_costs(quantity, counts)[0])} and at most "
            f"{_format(at_most)} is asked for"
            for quantity, at_most in limits
        )
        raise InfeasibleError(
            f"no architecture of the space meets the constraints; in the closest one {found}: loosen the "
            "constraints or add smaller options. Nothing was trained."
        )


def _format(value: float) -> str:
    """Return a whole number as it is, and another one with the digits that tell it from a limit."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


def feasible_architecture(problem: Problem, rng: np.random.Generator) -> Architecture:
    """Return a random architecture that meets the constraints: drawn uniformly, or led to them where few do."""
    rows = problem.space.sample_indices(_DRAWN_AT_ONCE, rng)
    violations = problem.violation(rows)
    row = rows[violations.argmin()]
    if violations.min() > 0:
        row, _ = downhill(problem, row)
    return problem.space.from_indices(row[None])[0]
