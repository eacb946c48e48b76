"""Two architectures, or two runs' fronts, side by side: what the pages about them show."""

from __future__ import annotations

from typing import Any

import numpy as np

from nas.front import compare_fronts, verdict
from nas.objective import Objective
from nas.service.columns import bars_of
from nas.service.record import TrialRow
from nas.service.runs import RunView, Snapshot
from nas.service.store import Run
from nas.service.words import change, describe_measurement, describe_objective
from nas.space import SearchSpace

_FEWEST_SHARED = 2


def compare_architectures(snapshot: Snapshot, space: SearchSpace, a: TrialRow, b: TrialRow) -> dict[str, Any]:
    """Return two architectures of a run, line by line.

    Returns:
        ``a`` and ``b`` (with the heights of their bars), ``measured`` (a line per objective), ``choices`` (a line per
        choice; one that doesn't matter has no option) and ``num_differing``.
    """
    sides = [_side(snapshot, space, row) for row in (a, b)]
    lines = [_compare_measured(objective, a, b) for objective in snapshot.objectives]
    options = [_options(space, row) for row in (a, b)]
    choices = [
        {"name": name, "a": first, "b": second, "differs": first != second}
        for name, first, second in zip([c.name for c in space.choices], *options, strict=True)
    ]
    return {
        "a": sides[0],
        "b": sides[1],
        "measured": lines,
        "choices": choices,
        "num_differing": sum(bool(line["differs"]) for line in choices),
    }


def compare_runs(a: Run, view_a: RunView, b: Run, view_b: RunView) -> dict[str, Any]:
    """Return two runs' fronts over the objectives that they share, or the ``problem`` why that can't be."""
    snapshots = (view_a.snapshot(), view_b.snapshot())
    shared = [o for o in snapshots[0].objectives if o in snapshots[1].objectives]
    if len(shared) < _FEWEST_SHARED:
        names = [", ".join(o.name for o in snapshot.objectives) for snapshot in snapshots]
        said = f"The runs share {len(shared)} objectives ({names[0]}; {names[1]}): two are needed to compare fronts."
        return {"problem": said}
    if a.id == b.id:
        return {"problem": "Both are the same run: choose two."}
    tables = [_costs(snapshot, shared) for snapshot in snapshots]
    compared = compare_fronts(*tables)
    sides = [
        {
            "side": "ab"[at],
            "id": run.id,
            "study": run.study,
            "evaluated": f"{len(snapshot.rows):,}",
            "on_front": f"{len(snapshot.front):,}",
            "hypervolume": f"{compared.hypervolumes[at]:.4f}",
            "covered": f"{100 * compared.covered[at]:.0f} %",
        }
        for at, (run, snapshot) in enumerate(zip((a, b), snapshots, strict=True))
    ]
    data = [view.directory.read_manifest().data for view in (view_a, view_b)]
    caution = (
        None if data[0] == data[1] else "The two were searched on different data: only counted costs compare."
    )
    values = np.concatenate(tables)
    described = [describe_objective(o, values[:, at] * o.cost(1.0)) for at, o in enumerate(shared)]
    return {
        "compared": True,
        "shared": described,
        "sides": sides,
        "verdict": _front_verdict(*compared.hypervolumes),
        "problem": caution,
    }


def _side(snapshot: Snapshot, space: SearchSpace, row: TrialRow) -> dict[str, Any]:
    on_front = any(row.number == member.number for member in snapshot.front_rows)
    return {
        "number": row.number,
        "architecture": row.architecture,
        "on_front": on_front,
        "bars": bars_of(space, row),
    }


def _compare_measured(objective: Objective, a: TrialRow, b: TrialRow) -> dict[str, Any]:
    first, second = (row.values[objective.name] for row in (a, b))
    return {
        **describe_measurement(objective, first),
        "a": describe_measurement(objective, first),
        "b": describe_measurement(objective, second),
        "change": change(objective, second.value - first.value),
        "verdict": verdict(objective, first, second),
    }


def _options(space: SearchSpace, row: TrialRow) -> list[str]:
    active = space.active(space.indices([row.choices]))[0]
    return [
        str(row.choices[c.name]) if is_on else "–" for c, is_on in zip(space.choices, active, strict=True)
    ]


def _costs(snapshot: Snapshot, objectives: list[Objective]) -> np.ndarray[Any, np.dtype[np.float64]]:
    rows = [[o.cost(row.values[o.name].value) for o in objectives] for row in snapshot.rows]
    return np.array(rows, dtype=np.float64)


def _front_verdict(first: float, second: float) -> str:
    if first == second:
        return "Both fronts are worth the same"
    better, worse = max(first, second), min(first, second)
    by = f" by {100 * (better / worse - 1):.1f} %" if worse > 0 else ""
    return f"The {'first' if first > second else 'second'} front is better{by}"
