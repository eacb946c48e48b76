"""A run's evaluated architectures in columns, small enough to be drawn at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas.choices import Option
from nas.front import FloatArray, scale_costs
from nas.objective import Objective
from nas.service.record import TrialRow
from nas.service.runs import Snapshot
from nas.service.words import ShownObjective, describe_objective
from nas.space import SearchSpace

MAX_DOMINATED = 1500
"""Dominated trials that are sent at once, at most: more can't be told apart in a picture."""

_FINEST_GRID = 512  # about as many cells as the plot is pixels high
_FIRST_OPTION = ord("0")


@final
@dataclass(frozen=True)
class ChoiceColumn:
    """A choice of the space, as genes number its options."""

    name: str
    options: Sequence[Option]


@final
@dataclass(frozen=True)
class Columns:
    """Evaluated architectures in columns.

    ``values`` and ``spread`` hold a list per objective, ``front`` numbers of trials. There are ``total`` rows, and
    ``cursor`` is what to ask for next.
    """

    objectives: list[ShownObjective]
    choices: list[ChoiceColumn]
    number: list[int]
    id: list[str]
    values: list[list[float]]
    spread: list[list[float]]
    genes: list[str]
    front: list[int]
    total: int
    cursor: int


def costs_of_rows(snapshot: Snapshot, objectives: Sequence[Objective]) -> FloatArray:
    """Return all rows' values of some objectives, to be minimised, ``(n, num_objectives)``."""
    values = values_of(objectives, snapshot.rows)
    costs: FloatArray = values * np.array([objective.cost(1.0) for objective in objectives])
    return costs


def values_of(objectives: Sequence[Objective], rows: Sequence[TrialRow], which: str = "value") -> FloatArray:
    """Return rows' values, or spreads, of some objectives, ``(n, num_objectives)``."""
    table = [[getattr(row.values[objective.name], which) for objective in objectives] for row in rows]
    return np.array(table, dtype=np.float64).reshape(len(rows), len(objectives))


def columns(snapshot: Snapshot, after: int = 0) -> Columns:
    """Return the rows from position ``after`` on, as columns for the page's plot.

    At the first time dominated rows are thinned where they lie closest.

    Args:
        snapshot: The run as it is now.
        after: How many rows the page has already been offered.
    """
    kept = np.arange(after, len(snapshot.rows))
    if after == 0:
        kept = thin_rows(values_of(snapshot.objectives, snapshot.rows), snapshot.front, MAX_DOMINATED)
    kept = np.union1d(kept, np.array(snapshot.front, dtype=np.int64))  # a member may have been thinned before
    rows = [snapshot.rows[position] for position in kept]
    values, spread = (values_of(snapshot.objectives, rows, which) for which in ("value", "spread"))
    return Columns(
        objectives=[describe_objective(o, values[:, at]) for at, o in enumerate(snapshot.objectives)],
        choices=[ChoiceColumn(c.name, c.options) for c in snapshot.space.choices],
        number=[row.number for row in rows],
        id=[row.architecture for row in rows],
        values=values.T.tolist(),
        spread=spread.T.tolist(),
        genes=genes_of(snapshot.space, rows),
        front=[row.number for row in snapshot.front_rows],
        total=len(snapshot.rows),
        cursor=len(snapshot.rows),
    )


def thin_rows(values: FloatArray, front: Sequence[int], most: int) -> NDArray[np.int64]:
    """Return positions of all members of the front, and of at most ``most`` other rows.

    Of rows in one cell of a grid over all objectives the first stays; the grid is the finest that leaves few
    enough. So every region that holds a trial shows one.

    Args:
        values: ``(n, m)`` float64.
        front: Positions that stay in any case.
        most: How many of the others.
    """
    dominated = np.setdiff1d(np.arange(len(values)), np.array(front, dtype=np.int64))
    kept, grid = dominated, _FINEST_GRID
    places = scale_costs(values)[dominated] if len(values) else values
    while len(kept) > most and grid > 1:
        _, first = np.unique((places * grid).astype(np.int64), axis=0, return_index=True)
        kept, grid = dominated[np.sort(first)], round(grid * 0.8)
    return np.union1d(kept[:most], np.array(front, dtype=np.int64)).astype(np.int64)


def genes_of(space: SearchSpace, rows: Sequence[TrialRow]) -> list[str]:
    """Return each architecture as a character per choice: ``0`` is its first option, ``.`` says it doesn't matter."""
    if not rows:
        return []
    indices = space.indices(row.choices for row in rows)
    codes = np.where(space.active(indices), indices + _FIRST_OPTION, ord("."))
    return ["".join(map(chr, line)) for line in codes]


def bars_of(space: SearchSpace, row: TrialRow) -> list[float | None]:
    """Return the height of each choice's bar in the picture of an architecture; None where it doesn't matter."""
    indices = space.indices([row.choices])
    active = space.active(indices)[0]
    highest = np.maximum(space.num_options - 1, 1)
    return [float(i / h) if is_on else None for i, h, is_on in zip(indices[0], highest, active, strict=True)]
