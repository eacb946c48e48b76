"""The first designs of a search that has knowledge from other sources."""

from __future__ import annotations

import numpy as np

from nas.search.models.cost_model import count_costs, find_measured_columns
from nas.search.models.designs import draw_balanced_designs
from nas.search.models.improvement import most_improving
from nas.search.models.nsga2 import evolve
from nas.search.models.proposals import fresh
from nas.search.models.sources import Source, Sources, ask_sources, draw_from_sources
from nas.space import FloatArray, IntArray
from nas.strategy import Problem

_POPULATION, _NUM_DRAWS = 96, 24
"""As in the search itself (:mod:`nas.search.strategies.batch`)."""
_NUM_FOLLOWED = 4
"""So many of the first six evaluations, as ``docs/memory.md`` measures it; other numbers were not tried. Sources that
are wrong cost these evaluations."""
_IN_A_ROW = 2
"""A balanced design follows every second one that is promised, so that wrong sources are found out early."""


def draw_guided_designs(problem: Problem, sources: Sources, count: int, rng: np.random.Generator) -> IntArray:
    """Return four architectures of which the sources promise most, among them and after them balanced designs.

    Whether the sources are right is not known yet. So the promising architectures are spread over the whole front, and
    the balanced designs let the surrogate learn the whole space in case the sources are wrong.

    Args:
        problem: Space and constraints.
        sources: What is known; those whose values are costs are followed, at least one.
        count: How many; fewer if fewer different feasible ones are found.
        rng: Draws the designs.

    Returns:
        ``(n, num_choices)`` canonical positions, no repeats, n <= count.
    """
    promise = _Promise(problem, sources)
    known = np.concatenate([source.knowledge.indices for source in sources.all if source.knowledge.are_costs])
    evolved = evolve(problem, promise.expect_costs, start=known, avoid=set(), size=_POPULATION, rng=rng)
    pool = fresh(problem, np.concatenate([known, evolved]), set())
    costs, draws = promise.expect_costs(pool), promise.draw_costs(pool, _NUM_DRAWS, rng)
    best, worst = costs.min(axis=0), costs.max(axis=0)
    corners = np.where(
        np.eye(costs.shape[1], dtype=bool), best, worst
    )  # of a box in which nothing is reached
    picked = pool[most_improving(draws, corners, _NUM_FOLLOWED, rng, pending=None, excess=problem.excess)]
    balanced = draw_balanced_designs(problem, count, rng)
    among = np.arange(_IN_A_ROW, len(picked) + 1, _IN_A_ROW)[: len(balanced)]
    rows = np.insert(picked, among, balanced[: len(among)], axis=0)
    return fresh(problem, np.concatenate([rows, balanced[len(among) :]]), set())[:count]


class _Promise:
    """Costs as the sources promise them; a measured objective of which none tells anything is 0."""

    def __init__(self, problem: Problem, sources: Sources) -> None:
        self._problem = problem
        self._sources = [[s for s in of if s.knowledge.are_costs] for of in sources.by_column]
        self._measured = find_measured_columns(problem, problem.space.indices([problem.space.smallest()]))

    def expect_costs(self, indices: IntArray) -> FloatArray:
        """Return the costs of ``(n, num_choices)`` positions, ``(n, num_objectives)``."""
        costs = count_costs(self._problem, indices)
        for column, sources in zip(self._measured, self._sources, strict=True):
            if sources:
                costs[:, column] = _average_sources(sources, ask_sources(sources, indices)[0])
        return costs

    def draw_costs(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n, num_objectives)`` joint draws of the costs."""
        costs = np.tile(count_costs(self._problem, indices), (count, 1, 1))
        for column, sources in zip(self._measured, self._sources, strict=True):
            if sources:
                costs[:, :, column] = _average_sources(
                    sources, draw_from_sources(sources, indices, count, rng)
                )
        return costs


def _average_sources(sources: list[Source], said: FloatArray) -> FloatArray:
    """Return the mean of what sources say, ``(..., k)``, each in its own range of values, ``(...)``."""
    shares = []
    for source, scores in zip(sources, np.moveaxis(said, -1, 0), strict=True):
        values = source.knowledge.values
        shares.append((source.values_at(scores) - values.min()) / np.ptp(values))
    agreed: FloatArray = np.mean(shares, axis=0)
    return agreed
