"""NSGA-II over option positions, on arrays; sorting into fronts and crowding distances are pymoo's."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import final

import numpy as np
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from nas.search.models.designs import draw_tilted_samples
from nas.space import FloatArray, IntArray, SearchSpace
from nas.strategy import Problem

_GENERATIONS = 25
"""Chosen, not measured. Half of the first population comes from the known front, so few generations lead away from it;
ten times as many would make this the longest part of a proposal, to be more exact about a model that isn't."""
_FEW_COMBINATIONS = 10_000
"""So many combinations of options are gone through in milliseconds."""


def evolve(
    problem: Problem,
    costs: Callable[[IntArray], FloatArray],
    *,
    start: IntArray,
    avoid: AbstractSet[bytes],
    size: int,
    rng: np.random.Generator,
) -> IntArray:
    """Return unseen, feasible architectures near the front of ``costs`` (Deb 2002).

    Being seen counts as a constraint violation, and so does a cost above a soft limit, so the population moves
    to the unseen neighbourhood of what is known.

    Args:
        problem: Space and hard constraints.
        costs: ``(n, num_choices)`` positions to ``(n, m)`` costs.
        start: ``(k, num_choices)`` positions to begin with; the rest of the population is random.
        avoid: ``tobytes()`` of the rows that must not come back.
        size: Size of the population.
        rng: Draws all that is random.

    Returns:
        ``(n, num_choices)`` canonical positions, no repeats, n <= size.
    """
    seen_start = start[rng.permutation(len(start))[: size // 2]]
    last = _whole_space(problem.space)
    if last is None or len(last) > size:
        population = _Population(problem, costs, avoid, size)
        population.join(
            np.concatenate([seen_start, draw_tilted_samples(problem, size - len(seen_start), rng)])
        )
        for _ in range(_GENERATIONS):
            population.join(_children(problem.space, population.parents(rng), rng))
        last = np.unique(population.rows, axis=0)
    fresh = np.array([row.tobytes() not in avoid for row in last], dtype=np.bool_)
    return last[fresh & (problem.infeasibility(last) <= 0)]


def _whole_space(space: SearchSpace) -> IntArray | None:
    """Return all architectures of a small space; None for a large one. Where all have room, none needs to be missed."""
    if space.num_combinations > _FEW_COMBINATIONS:
        return None
    return np.unique(space.canonical(space.combinations(np.arange(space.num_combinations))), axis=0)


@final
class _Population:
    """The best so far, best first: by constraint violation, then by front, then by crowding distance."""

    def __init__(
        self,
        problem: Problem,
        costs: Callable[[IntArray], FloatArray],
        avoid: AbstractSet[bytes],
        size: int,
    ) -> None:
        self._problem, self._costs, self._avoid, self._size = problem, costs, avoid, size
        self.rows = np.zeros((0, len(problem.space.choices)), dtype=np.int64)
        self._values = np.zeros((0, len(problem.objectives)))
        self._violation = np.zeros(0)

    def join(self, rows: IntArray) -> None:
        """Add canonical rows that are new, and keep the best."""
        known = {row.tobytes() for row in self.rows}
        new = {row.tobytes(): row for row in self._problem.space.canonical(rows)}
        fresh = [row for key, row in new.items() if key not in known]
        if not fresh:
            return
        rows = np.array(fresh)
        values = self._costs(rows)
        values = np.where(np.isfinite(values), values, 0.0)  # what isn't finite is infeasible
        # A row that may not come back violates a constraint by 1, as much as twice the limit of a counted objective: it
        # may still lead to its neighbours.
        seen = np.array([row.tobytes() in self._avoid for row in rows], dtype=np.float64)
        violation = self._problem.infeasibility(rows) + seen + self._problem.excess(values)
        self.rows = np.concatenate([self.rows, rows])
        self._values = np.concatenate([self._values, values])
        self._violation = np.concatenate([self._violation, np.maximum(violation, 0.0)])
        best = self._best_first()[: self._size]
        self.rows, self._values, self._violation = self.rows[best], self._values[best], self._violation[best]

    def parents(self, rng: np.random.Generator) -> IntArray:
        """Return pairs of parents, ``(2, size / 2, num_choices)``, each the better one of two."""
        drawn = rng.integers(0, len(self.rows), size=(2, 2, (self._size + 1) // 2))
        # Rows are sorted, the best first, so the better one of two has the lower number.
        better: IntArray = self.rows[drawn.min(axis=0)]
        return better

    def _best_first(self) -> IntArray:
        feasible = np.flatnonzero(self._violation <= 0)
        others = np.flatnonzero(self._violation > 0)
        others = others[np.argsort(self._violation[others], kind="stable")]
        fronts = NonDominatedSorting().do(self._values[feasible], n_stop_if_ranked=self._size)
        ordered = [feasible[front][_most_alone_first(self._values[feasible[front]])] for front in fronts]
        return np.concatenate([*ordered, others])


def _most_alone_first(costs: FloatArray) -> IntArray:
    # Stable, as everywhere that proposals depend on an order: equal distances are common, and a search must be
    # repeatable.
    return np.argsort(-calc_crowding_distance(costs), kind="stable")


def _children(space: SearchSpace, parents: IntArray, rng: np.random.Generator) -> IntArray:
    """Return two children of each pair: a uniform crossover, then a step.

    A step moves about one choice to a neighbouring option, or, half the time, to any option.
    """
    swapped = rng.random(parents.shape[1:]) < 0.5
    rows = np.concatenate([np.where(swapped, *parents), np.where(swapped, *parents[::-1])])
    neighbour = np.clip(rows + rng.choice([-1, 1], size=rows.shape), 0, space.num_options - 1)
    anywhere = rng.integers(0, space.num_options, size=rows.shape)
    moved = np.where(rng.random(rows.shape) < 0.5, neighbour, anywhere)
    # More than one choice on average, because a step beyond the last option, or to the same one, moves nothing.
    return np.where(rng.random(rows.shape) < 1.5 / rows.shape[1], moved, rows)
