"""Where a search starts: the two ends of the space and a space-filling design."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import numpy as np

from nas.protocols import Problem
from nas.space import FloatArray, IntArray

_POOL_SIZE = 1024


def space_filling(
    problem: Problem, count: int, rng: np.random.Generator, *, avoid: AbstractSet[bytes] = frozenset()
) -> IntArray:
    """Return feasible designs: the smallest, the largest, then each far from all before it.

    Distances are in the options' positions and in the logarithms of the counted objectives, so that
    the designs spread over sizes as well as over shapes; independent sampling would put nearly all of
    them at a middling size.

    Args:
        problem: Space and constraints.
        count: How many; fewer if fewer different feasible ones are found.
        rng: Draws the pool that is chosen from.
        avoid: ``tobytes()`` of rows that must not come back.

    Returns:
        ``(n, num_choices)`` canonical positions, no repeats, n <= count.
    """
    space = problem.space
    ends = space.indices([space.smallest(), space.largest()])
    pool = _feasible_pool(problem, np.concatenate([ends, tilted_samples(problem, _POOL_SIZE, rng)]), count)
    pool = pool[[row.tobytes() not in avoid for row in pool]]
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


def _feasible_pool(problem: Problem, rows: IntArray, count: int) -> IntArray:
    """Return the feasible of ``rows``; where they are fewer than ``count``, others led downhill too."""
    violation = problem.violation(rows)
    feasible = rows[violation <= 0]
    if len(feasible) < count:
        nearest = rows[np.argsort(violation)[: 4 * count]]
        led = np.array([downhill(problem, row)[0] for row in nearest])
        feasible = np.concatenate([feasible, led[problem.violation(led) <= 0]])
    return np.unique(feasible, axis=0)


def downhill(problem: Problem, row: IntArray) -> tuple[IntArray, float]:
    """Change one choice at a time, always the best change, until the constraints hold or nothing helps.

    Args:
        problem: Space and constraints.
        row: ``(num_choices,)`` positions to begin with.

    Returns:
        Canonical positions and how far they violate the constraints; 0.0 is feasible.
    """
    violation = float(problem.violation(row[None])[0])
    while violation > 0:
        changed = [
            [*row[:column], option, *row[column + 1 :]]
            for column, count in enumerate(problem.space.num_options)
            for option in range(count)
        ]
        neighbours = problem.space.canonical(np.array(changed, dtype=np.int64))
        violations = problem.violation(neighbours)
        best = int(np.argmin(violations))
        if violations[best] >= violation:
            break
        row, violation = neighbours[best], float(violations[best])
    return row, violation


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
