"""Where a search starts: the two ends of the space and a space-filling design."""

from __future__ import annotations

import numpy as np

from nas.protocols import Problem
from nas.space import FloatArray, IntArray

_POOL_SIZE = 1024


def space_filling(problem: Problem, count: int, rng: np.random.Generator) -> IntArray:
    """Return feasible designs: the smallest, the largest, then each far from all before it.

    Distances are in the options' positions and in the logarithms of the counted objectives, so that
    the designs spread over sizes as well as over shapes; independent sampling would put nearly all of
    them at a middling size.

    Args:
        problem: Space and constraints.
        count: How many; fewer if fewer different feasible ones are found.
        rng: Draws the pool that is chosen from.

    Returns:
        ``(n, num_choices)`` canonical positions, no repeats, n <= count.
    """
    space = problem.space
    ends = space.indices([space.smallest(), space.largest()])
    pool = np.unique(np.concatenate([ends, tilted_samples(problem, _POOL_SIZE, rng)]), axis=0)
    pool = pool[problem.violation(pool) <= 0]
    if len(pool) == 0:
        return pool
    points = _coordinates(problem, pool)
    chosen = [row for end in ends for row in np.flatnonzero((pool == end).all(axis=1)).tolist()]
    chosen = list(dict.fromkeys(chosen))[:count] or [int(rng.integers(len(pool)))]
    distance = np.min([np.linalg.norm(points - points[row], axis=1) for row in chosen], axis=0)
    while len(chosen) < min(count, len(pool)):
        row = int(np.argmax(distance))
        chosen.append(row)
        distance = np.minimum(distance, np.linalg.norm(points - points[row], axis=1))
    return pool[chosen]


def tilted_samples(problem: Problem, count: int, rng: np.random.Generator) -> IntArray:
    """Return ``(count, num_choices)`` random positions, each with its own leaning to small or large.

    A leaning p is drawn per architecture; every position is then binomial(options - 1, p).
    """
    leaning = rng.uniform(size=(count, 1))
    return problem.space.canonical(rng.binomial(problem.space.num_options - 1, leaning))


def _coordinates(problem: Problem, indices: IntArray) -> FloatArray:
    positions = indices / np.maximum(problem.space.num_options - 1, 1)
    columns = [positions / np.sqrt(positions.shape[1])]
    for values in problem.count(indices).values():
        logs = np.log(np.maximum(values, 1e-9))
        extent = np.ptp(logs)
        columns.append((logs[:, None] - logs.min()) / (extent if extent > 0 else 1.0))
    return np.concatenate(columns, axis=1)
