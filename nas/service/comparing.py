"""Two architectures, or two runs' fronts, side by side: what the pages about them show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nas.front import FrontComparison, compare_fronts
from nas.service.columns import costs_of_rows
from nas.service.record import TrialRow
from nas.service.runs import RunView
from nas.service.words import ShownObjective, describe_objective
from nas.space import SearchSpace

_FEWEST_SHARED = 2
"""A front over one objective is a point."""
_OTHER_DATA = "The two were searched on different data: only counted costs compare."


class ComparedFronts(NamedTuple):
    """Two runs' fronts over the objectives that they share; ``caution`` says what can't be compared of them."""

    shared: list[ShownObjective]
    fronts: FrontComparison
    verdict: str
    caution: str | None


def compare_choices(space: SearchSpace, rows: Sequence[TrialRow]) -> list[tuple[str, ...]]:
    """Return the name of each choice, and its option in each architecture; a dash where it doesn't matter."""
    columns = [[choice.name for choice in space.choices]]
    for row, is_active in zip(rows, space.active(space.indices(row.choices for row in rows)), strict=True):
        options = [str(row.choices[choice.name]) for choice in space.choices]
        columns.append([option if is_on else "–" for option, is_on in zip(options, is_active, strict=True)])
    return list(zip(*columns, strict=True))


def compare_runs(*views: RunView) -> ComparedFronts | str:
    """Return what two runs' fronts come to, or a sentence why they can't be compared."""
    snapshots = [view.snapshot() for view in views]
    shared = [o for o in snapshots[0].objectives if o in snapshots[1].objectives]
    if len(shared) < _FEWEST_SHARED:
        names = [", ".join(o.name for o in snapshot.objectives) for snapshot in snapshots]
        found = f"The runs share {len(shared)} objectives ({names[0]}; {names[1]})"
        return f"{found}: two are needed to compare fronts."
    if views[0] is views[1]:
        return "Both are the same run: choose two."
    tables = [costs_of_rows(snapshot, shared) for snapshot in snapshots]
    fronts, values = compare_fronts(*tables), np.concatenate(tables)
    data = [view.directory.read_manifest().data for view in views]
    return ComparedFronts(
        [describe_objective(o, values[:, at] * o.cost(1.0)) for at, o in enumerate(shared)],
        fronts,
        _front_verdict(*fronts.hypervolumes),
        _OTHER_DATA if data[0] != data[1] else None,
    )


def _front_verdict(first: float, second: float) -> str:
    if first == second:
        return "Both fronts are worth the same"
    better, worse = max(first, second), min(first, second)
    by = f" by {100 * (better / worse - 1):.1f} %" if worse > 0 else ""
    return f"The {'first' if first > second else 'second'} front is better{by}"
