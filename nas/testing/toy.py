"""A small problem for search strategies, and searches of it that are hard to go on from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.choices import choice
from nas.objective import Measurement, Objective
from nas.search.record.trials import distributions
from nas.space import Architecture, Condition, FloatArray, IntArray, SearchSpace
from nas.strategy import Problem

_NUM_EARLIER = 32
"""Trials of an earlier search: more than strategies draw at random before they begin to learn."""


def toy_space(max_options: int = 6) -> SearchSpace:
    """Return six choices of at most so many options; ``second.*`` matter at ``depth`` 2."""
    space = SearchSpace(
        (
            choice("width", *(1, 2, 3, 4, 5, 6)[:max_options]),
            choice("kernel", *(3, 5, 7, 9)[:max_options]),
            choice("depth", *(1, 2)[:max_options]),
            choice("second.width", *(1, 2, 3, 4, 5)[:max_options]),
            choice("second.kernel", *(3, 5, 7)[:max_options]),
            choice("mode", *("a", "b", "c", "d")[:max_options]),
        )
    )
    if max_options < 2:
        return space
    return SearchSpace(
        space.choices, {name: ((Condition("depth", (2,)),),) for name in ("second.width", "second.kernel")}
    )


def toy_problem(space: SearchSpace | None = None, *, at_most: float = 16.0) -> Problem:
    """Return a problem of 1,536 architectures with a condition, two objectives and a hard constraint.

    ``quality`` is to be learned; ``size`` is counted, and may be ``at_most``. See :func:`toy_evaluate`.
    """

    def size(indices: IntArray) -> FloatArray:
        width, kernel, depth, second, second_kernel, _ = (indices + 1.0).T
        return np.asarray(width * kernel + (depth - 1) * second * second_kernel, dtype=np.float64)

    return Problem(
        space=space or toy_space(),
        objectives=(Objective("quality", "", "maximize"), Objective("size", "", "minimize")),
        count=lambda indices: {"size": size(indices)},
        violation=lambda indices: np.maximum(size(indices) - at_most, 0.0) / at_most,
    )


def toy_evaluate(problem: Problem, architecture: Architecture) -> Mapping[str, Measurement]:
    """Return the measurements of an architecture of :func:`toy_problem`; one in eight raises instead."""
    if int(architecture.id, 16) % 8 == 0:
        raise RuntimeError("this architecture can't be evaluated")
    row = problem.space.indices([architecture])
    return {
        "quality": Measurement(_quality(row[0]), 0.01, "", "", 1),
        "size": Measurement(float(problem.count(row)["size"][0]), 0.0, "", "", 1),
    }


def hard_starts() -> dict[str, tuple[Problem, list[FrozenTrial]]]:
    """Return problems with trials of an earlier search that is hard to go on from, by what is hard."""
    problem = toy_problem()
    measured = dataclasses.replace(
        problem, objectives=_objectives("quality", "latency"), count=lambda indices: {}
    )
    many = dataclasses.replace(problem, objectives=_objectives(*(f"measured{n}" for n in range(11)), "size"))
    one = dataclasses.replace(problem, objectives=problem.objectives[:1], count=lambda indices: {})
    single, small, tight = toy_problem(toy_space(1)), toy_problem(toy_space(2)), toy_problem(at_most=2.0)
    rows = _feasible(problem)
    usual = _values(problem, rows)
    constant = np.full((len(rows), 2), 0.5)
    odd = {name: usual.copy() for name in ("huge", "infinite", "no number to learn from")}
    odd["huge"][5, 0] = -1e12
    odd["huge"][6, 0] = 1e12
    odd["infinite"][::5, 0] = math.inf
    odd["infinite"][1::5, 0] = -math.inf
    odd["no number to learn from"][:, 0] = -math.inf
    waves = np.sin(np.outer(np.arange(len(rows)), np.arange(1, 13)))
    waves[:, -1] = usual[:, 1]
    failed = [_trial(problem, row, None) for row in rows]
    return {
        "an empty study": (problem, []),
        "one finished trial": (problem, _trials(problem, rows[:1], usual)),
        "all trials failed": (problem, failed),
        "a trial that failed before it had options": (
            problem,
            [optuna.trial.create_trial(state=TrialState.FAIL), *_trials(problem, rows, usual)],
        ),
        "equal rows": (problem, _trials(problem, rows[[0] * len(rows)], usual[[0] * len(rows)])),
        "constant objectives": (measured, _trials(measured, rows, constant)),
        "constant zero objectives": (measured, _trials(measured, rows, 0.0 * constant)),
        "one objective": (one, _trials(one, rows, usual[:, :1])),
        "twelve objectives": (many, _trials(many, rows, waves)),
        "a space of one architecture": (single, []),
        "a space of one architecture that is known": (
            single,
            _trials(single, _feasible(single), _values(single, _feasible(single))),
        ),
        "a small space, nearly exhausted": (
            small,
            _trials(small, _feasible(small)[4:], _values(small, _feasible(small)[4:])),
        ),
        "few feasible architectures": (
            tight,
            _trials(tight, _feasible(tight)[4:], _values(tight, _feasible(tight)[4:])),
        ),
        "few feasible architectures, most of which failed": (
            tight,
            [_trial(tight, row, None) for row in _feasible(tight)[4:]],
        ),
        **{f"{name} values": (problem, _trials(problem, rows, values)) for name, values in odd.items()},
    }


def _objectives(*names: str) -> tuple[Objective, ...]:
    return tuple(Objective(name, "", "maximize" if name == "quality" else "minimize") for name in names)


def every_row(space: SearchSpace) -> IntArray:
    """Return the option positions of every architecture, those that are the same but for what doesn't matter too."""
    return np.array(list(np.ndindex(*space.num_options)), dtype=np.int64)


def _feasible(problem: Problem) -> IntArray:
    """Return different feasible rows in random order, 32 at most."""
    rows = np.unique(problem.space.canonical(every_row(problem.space)), axis=0)
    rows = rows[problem.violation(rows) <= 0]
    return np.random.default_rng(0).permutation(rows)[:_NUM_EARLIER]


def _quality(row: IntArray) -> float:
    gain = np.array([0.7, 0.4, 0.9, 0.3, 0.2, -0.1]) * np.sqrt(row)
    return float(1 - np.exp(-gain.sum()))


def _values(problem: Problem, rows: IntArray) -> FloatArray:
    return np.column_stack([[_quality(row) for row in rows], problem.count(rows)["size"]])


def _trials(problem: Problem, rows: IntArray, values: FloatArray) -> list[FrozenTrial]:
    return [_trial(problem, row, value) for row, value in zip(rows, values, strict=False)]


def _trial(problem: Problem, row: IntArray, values: FloatArray | None) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=TrialState.FAIL if values is None else TrialState.COMPLETE,
        values=None if values is None else values.tolist(),
        params=dict(problem.space.from_indices(row[None])[0]),
        distributions=distributions(problem.space),
    )
