"""What the scripts of a run's page ask for: architectures in columns, and answers to budgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import Response

from nas.front import FloatArray, Upgrade, best_within, find_upgrades, knees
from nas.search.record.credibility import credible_front
from nas.service import words
from nas.service.api import TheView
from nas.service.columns import columns, costs_of_rows
from nas.service.numbers import Whole, number
from nas.service.problems import make_refusal
from nas.service.runs import Snapshot

_NO_STEP = "No larger budget buys anything better."
_NO_BUDGET = "Without a budget, this is the best of all."

router = APIRouter(include_in_schema=False)
Name = Annotated[str, Query(max_length=100)]


@final
@dataclass(frozen=True)
class Explored:
    """What is best within budgets and how many are, the knees, what next steps buy, and what to say without one."""

    best: int | None
    within: int
    of: int
    knees: list[int]
    steps: list[words.ShownStep]
    last: str


@router.get("/runs/{run}/points")
def points(view: TheView, after: Annotated[Whole, Query(ge=0, le=2**31 - 1)] = 0) -> Response:
    """Send evaluated architectures in columns, for the plot."""
    return view.answer(("points", after), lambda snapshot: columns(snapshot, after))


@router.get("/runs/{run}/explore")
def explore(
    view: TheView,
    goal: Name,
    x: Name,
    y: Name,
    limit: Annotated[list[str] | None, Query(max_length=32)] = None,
) -> Explored:
    """Send what is best within budgets, what loosening each would buy, and the knees of two objectives.

    A limit is ``name:value``; ``goal``, ``x`` and ``y`` are names of objectives.
    """
    snapshot = view.snapshot()
    goal_column, *axes = (_column(snapshot, name) for name in (goal, x, y))
    return _explore_front(snapshot, _limits(snapshot, limit or []), goal_column, *axes)


def _column(snapshot: Snapshot, name: str) -> int:
    names = [objective.name for objective in snapshot.objectives]
    if name not in names:
        raise make_refusal(f"The run has no objective {name!r}: choose among {names}.")
    return names.index(name)


def _limits(snapshot: Snapshot, given: list[str]) -> FloatArray:
    limits = np.full(len(snapshot.objectives), np.inf)
    for text in given:
        name, _, value = text.rpartition(":")
        column = _column(snapshot, name)
        try:
            limit = number(value)
        except ValueError:
            raise make_refusal(
                f"The limit {text[:60]!r} is none: send the objective's name, ':' and a number."
            ) from None
        limits[column] = snapshot.objectives[column].cost(limit)
    return limits


def _explore_front(snapshot: Snapshot, limits: FloatArray, goal: int, x: int, y: int) -> Explored:
    costs = costs_of_rows(snapshot, snapshot.objectives)
    # The best within any budgets is on the front of all; the run's own front keeps to the study's limits.
    front = np.flatnonzero(credible_front(costs, np.zeros(len(costs))))
    members = costs[front]
    best = best_within(members, limits, goal)
    steps = [
        Upgrade(int(front[step.row]), step.column, step.extra, step.gain)
        for step in find_upgrades(members, limits, goal)
    ]
    bent = [] if x == y else knees(members[:, [x, y]])
    return Explored(
        best=None if best is None else snapshot.rows[front[best]].number,
        within=int((costs <= limits).all(axis=1).sum()),
        of=len(costs),
        knees=[snapshot.rows[front[row]].number for row in bent],
        steps=[words.describe_step(snapshot, step, goal) for step in steps],
        last=_NO_STEP if np.isfinite(limits).any() else _NO_BUDGET,
    )
