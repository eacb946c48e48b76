"""NSGA-II over option positions, by pymoo."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.repair import Repair
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.optimize import minimize

from nas.protocols import Problem
from nas.search.designs import tilted_samples
from nas.space import FloatArray, IntArray, SearchSpace

_GENERATIONS = 25
_FEW_COMBINATIONS = 10_000
"""Of options, to go through in milliseconds."""


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
        size: Of the population.
        rng: Draws the first population and the seed of the rest.

    Returns:
        ``(n, num_choices)`` canonical positions, no repeats, n <= size.
    """
    seen_start = start[rng.permutation(len(start))[: size // 2]]
    first = np.concatenate([seen_start, tilted_samples(problem, size - len(seen_start), rng)])
    seed = int(rng.integers(2**31))
    last = _whole_space(problem.space)
    if last is None or len(last) > size:
        result = minimize(
            _Screen(problem, costs, avoid),
            NSGA2(
                pop_size=size,
                sampling=first,
                crossover=UniformCrossover(),
                mutation=_Step(problem),
                repair=_Canonical(problem),
            ),
            ("n_gen", _GENERATIONS),
            seed=seed,
        )
        last = np.unique(problem.space.canonical(result.pop.get("X").astype(np.int64)), axis=0)
    fresh = np.array([row.tobytes() not in avoid for row in last], dtype=np.bool_)
    return last[fresh & (problem.infeasibility(last) <= 0)]


def _whole_space(space: SearchSpace) -> IntArray | None:
    """Return all architectures, none of which a population that has room for them would miss; None for many."""
    if space.num_combinations > _FEW_COMBINATIONS:
        return None
    return np.unique(space.canonical(space.combinations(np.arange(space.num_combinations))), axis=0)


class _Screen(PymooProblem):  # type: ignore[misc] # pymoo has no types
    def __init__(
        self, problem: Problem, costs: Callable[[IntArray], FloatArray], avoid: AbstractSet[bytes]
    ) -> None:
        self._problem, self._costs, self._avoid = problem, costs, avoid
        top = problem.space.num_options - 1
        super().__init__(
            n_var=len(top), n_obj=len(problem.objectives), n_ieq_constr=1, xl=np.zeros_like(top), xu=top
        )

    def _evaluate(self, x: np.ndarray, out: dict[str, Any], *_: object, **__: object) -> None:
        indices = self._problem.space.canonical(x.astype(np.int64))
        seen = np.array([row.tobytes() in self._avoid for row in indices], dtype=np.float64)
        costs = self._costs(indices)
        out["F"] = np.where(np.isfinite(costs), costs, 0.0)  # what isn't finite is infeasible
        excess = self._problem.excess(out["F"])
        out["G"] = (self._problem.infeasibility(indices) + seen + excess)[:, None]


class _Step(Mutation):  # type: ignore[misc]
    """Move about one choice to a neighbouring option, or, half the time, to any option."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self._num_options = problem.space.num_options

    def _do(
        self,
        _problem: PymooProblem,
        x: np.ndarray,
        *_: object,
        random_state: np.random.Generator,
        **__: object,
    ) -> np.ndarray:
        rng, top = random_state, self._num_options - 1
        neighbour = np.clip(x + rng.choice([-1, 1], size=x.shape), 0, top)
        anywhere = rng.integers(0, self._num_options, size=x.shape)
        moved = np.where(rng.random(x.shape) < 0.5, neighbour, anywhere)
        return np.where(rng.random(x.shape) < 1.5 / x.shape[1], moved, x)


class _Canonical(Repair):  # type: ignore[misc]
    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self._space = problem.space

    def _do(self, _problem: PymooProblem, x: np.ndarray, **_: object) -> np.ndarray:
        return self._space.canonical(x.astype(np.int64))
