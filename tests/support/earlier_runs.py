"""What earlier runs told of the problems of tests."""

from __future__ import annotations

import dataclasses

import numpy as np

from nas.knowledge import Knowledge
from nas.space import FloatArray, IntArray
from nas.strategy import Problem


def told(problem: Problem, values: FloatArray, rows: IntArray) -> Problem:
    """Return a problem of whose first objective an earlier run told."""
    earlier = Knowledge("earlier", rows, values, problem.objectives[0].name, are_costs=True)
    return dataclasses.replace(problem, knowledge=(earlier,))


def grid_knowledge(problem: Problem, count: int = 40) -> tuple[IntArray, FloatArray]:
    rows = np.unique(problem.space.sample_indices(count, np.random.default_rng(5)), axis=0)
    return rows, -np.sqrt(rows).sum(axis=1) + 0.2 * rows[:, 0]
