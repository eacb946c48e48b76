"""Two architectures, or two runs' fronts, side by side: what the pages about them show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nas.front import FloatArray, compare_fronts
from nas.objective import Objective
from nas.service.record import TrialRow
from nas.service.runs import RunView, Snapshot
from nas.service.store import Run
from nas.service.words import ShownObjective, describe_objective
from nas.space import SearchSpace

_FEWEST_SHARED = 2


class FrontSide(NamedTuple):
    """What a run's front is worth beside the other's."""

    id: str
    evaluated: int
    on_front: int
    hypervolume: float
    covered: float


class ComparedFronts(NamedTuple):
    """Two runs' fronts, the first run first; ``caution`` says what can't be compared of them."""

    shared: list[ShownObjective]
    sides: list[FrontSide]
    verdict: str
    caution: str | None


def compare_choices(space: SearchSpace, rows: Sequence[TrialRow]) -> list[tuple[str, ...]]:
    """Return the name of each choice, and its option in each architecture; a dash where it doesn't matter."""
    columns = [[choice.name for choice in space.choices]]
    for row, is_active in zip(rows, space.active(space.indices(row.choices for row in rows)), strict=True):
        options = [str(row.choices[choice.name]) for choice in space.choices]
        columns.append([option if is_on else "–" for option, is_on in zip(options, is_active, strict=True)])
    return list(zip(*columns, strict=True))


def compare_runs(a: Run, view_a: RunView, b: Run, view_b: RunView) -> ComparedFronts | str:
    """Return two runs' fronts over the objectives that they share, or a sentence why that can't be."""
    snapshots = (view_a.snapshot(), view_b.snapshot())
    shared = [o for o in snapshots[0].objectives if o in snapshots[1].objectives]
    if len(shared) < _FEWEST_SHARED:
        names = [", ".join(o.name for o in snapshot.objectives) for snapshot in snapshots]
        found = f"The runs share {len(shared)} objectives ({names[0]}; {names[1]})"
        return f"{found}: two are needed to compare fronts."
    if a.id == b.id:
        return "Both are the same run: choose two."
    tables = [_costs(snapshot, shared) for snapshot in snapshots]
    compared = compare_fronts(*tables)
    sides = [
        FrontSide(run.id, len(found.rows), len(found.front), volume, covered)
        for run, found, volume, covered in zip(
            (a, b), snapshots, compared.hypervolumes, compared.covered, strict=True
        )
    ]
    data = [view.directory.read_manifest().data for view in (view_a, view_b)]
    values = np.concatenate(tables)
    return ComparedFronts(
        [describe_objective(o, values[:, at] * o.cost(1.0)) for at, o in enumerate(shared)],
        sides,
        _front_verdict(*compared.hypervolumes),
        None
        if data[0] == data[1]
        else "The two were searched on different data: only counted costs compare.",
    )


def _costs(snapshot: Snapshot, objectives: list[Objective]) -> FloatArray:
    rows = [[o.cost(row.values[o.name].value) for o in objectives] for row in snapshot.rows]
    return np.array(rows, dtype=np.float64)


def _front_verdict(first: float, second: float) -> str:
    if first == second:
        return "Both fronts are worth the same"
    better, worse = max(first, second), min(first, second)
    by = f" by {100 * (better / worse - 1):.1f} %" if worse > 0 else ""
    return f"The {'first' if first > second else 'second'} front is better{by}"
