"""The first designs of a search, and how designs are made to meet the hard constraints."""

from __future__ import annotations

import numpy as np

from nas.space import IntArray
from nas.strategy import Problem


def draw_balanced_designs(problem: Problem, count: int, rng: np.random.Generator) -> IntArray:
    """Return random designs in which all options of a choice are equally frequent (McKay 1979).

    A design that breaks a hard constraint is led downhill until it doesn't.

    Args:
        problem: Space and constraints.
        count: How many; fewer if fewer different feasible ones are found.
        rng: Draws the designs.

    Returns:
        ``(n, num_choices)`` canonical positions, no repeats, n <= count.
    """
    # The inner permutation decides which options are there once more, where their number doesn't divide the count.
    columns = [
        rng.permutation(np.resize(rng.permutation(options), count)) for options in problem.space.num_options
    ]
    rows = problem.space.canonical(np.stack(columns, axis=1))
    led = np.array([downhill(problem, row)[0] for row in rows])
    feasible = led[problem.violation(led) <= 0]
    # In the order in which they were drawn: np.unique sorts, which would put the smallest architectures first.
    _, first = np.unique(feasible, axis=0, return_index=True)
    return feasible[np.sort(first)]


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


def draw_tilted_samples(problem: Problem, count: int, rng: np.random.Generator) -> IntArray:
    """Return ``(count, num_choices)`` random positions, each with its own leaning to small or large.

    A leaning p is drawn per architecture; every position is then binomial(options - 1, p).
    """
    leaning = rng.uniform(size=(count, 1))
    return problem.space.canonical(rng.binomial(problem.space.num_options - 1, leaning))
