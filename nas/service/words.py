"""What the page says: labels, numbers with units, stages, times. Text only; templates decide how it looks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from nas.front import Step, is_noise
from nas.objective import Measurement, Objective
from nas.progress import (
    ADAPT_CANDIDATES,
    CHECK_RANKING,
    CHOOSE_PROXY,
    DONE,
    FINISH_WINNERS,
    PRETRAIN_SUPERNET,
    SCORE_UNTRAINED,
    SEARCH,
    TRAIN_SUPERNET,
)
from nas.report import tables
from nas.report.tables import choose_unit, format_value, with_spread
from nas.service.models import Refit, RunModel, Trust
from nas.service.record import TrialRow
from nas.service.runs import Snapshot

STAGES = (TRAIN_SUPERNET, SEARCH, FINISH_WINNERS, CHECK_RANKING)
_NAMES = {
    "macs": "MACs",
    "flops": "FLOPs",
    "num_params": "parameters",
    "weight_bytes": "weights",
    "file_bytes": "file size",
}


def label(name: str) -> str:
    """Return an objective's name for people, without the unit."""
    return _NAMES.get(name) or tables.label(name)


def describe_objective(objective: Objective, values: Iterable[float] = ()) -> dict[str, Any]:
    """Return what the page needs of an objective.

    Args:
        objective: An objective of the study.
        values: Measured so far; an objective whose values are rates is typed and shown in percent.

    Returns:
        ``name``, ``label``, ``unit``, ``direction``; ``shown_unit`` and the ``factor`` from the value to it.
    """
    unit, factor = choose_unit(objective, values)
    return {
        "name": objective.name,
        "label": label(objective.name),
        "unit": objective.unit,
        "direction": objective.direction,
        "shown_unit": unit,
        "factor": factor,
    }


def describe_measurement(objective: Objective, value: Measurement) -> dict[str, str]:
    """Return a measurement as ``label`` and ``text``, with spread and unit."""
    return {"label": label(objective.name), "text": with_spread(value, objective)}


def change(objective: Objective, difference: float) -> str:
    """Return a difference with its sign and two digits that mean something; of rates, in points."""
    size = abs(difference)
    text = format_value(size, objective)
    if text.endswith(" %"):
        text = f"{100 * size:.2f} points"
    elif size < 1000 and objective.unit != "B":
        text = f"{size:.2g} {objective.unit}".rstrip()
    return f"{'+' if difference > 0 else '−' if difference < 0 else '±'}{text}"


def describe_step(snapshot: Snapshot, step: Step, goal: int) -> dict[str, Any]:
    """Return what the next step costs and buys, as sentences.

    Args:
        snapshot: The run as it is now.
        step: Its row is a position in the snapshot's rows.
        goal: Column of the objective that gets better.
    """
    spent, bought = snapshot.objectives[step.column], snapshot.objectives[goal]
    row = snapshot.rows[step.row]
    reached = row.values[bought.name]
    cost = f"{change(spent, spent.value(step.extra))} {label(spent.name)}"
    if step.gain is None:
        text = f"{cost} lets one in"
    else:
        text = f"{cost} buys {change(bought, -bought.value(step.gain))} {label(bought.name)}"
    price = format_value(row.values[spent.name].value, spent)
    detail = f"{format_value(reached.value, bought)} at {price}, {row.architecture}"
    if step.gain is not None and is_noise(step.gain, reached.spread, reached.spread):
        detail += "; the gain is within the noise of measuring"
    return {
        "number": row.number,
        "column": step.column,
        "limit": row.values[spent.name].value,
        "text": text,
        "detail": detail,
    }


def table_row(snapshot: Snapshot, row: TrialRow) -> dict[str, Any]:
    """Return an evaluated architecture as a line of a table."""
    values = [
        describe_measurement(objective, row.values[objective.name]) for objective in snapshot.objectives
    ]
    return {"number": row.number, "architecture": row.architecture, "measured": values}


def stages(run: RunModel) -> list[dict[str, Any]]:
    """Return the stages of a run, each with whether it ``is`` done, current or to come, and its ``percent``."""
    names = list(STAGES)
    if run.stage == PRETRAIN_SUPERNET:
        names.insert(0, run.stage)
    elif run.stage in (SCORE_UNTRAINED, CHOOSE_PROXY):
        names.insert(1, run.stage)
    elif run.stage == ADAPT_CANDIDATES:
        names.insert(names.index(FINISH_WINNERS), run.stage)
    elif run.stage not in (*STAGES, "", DONE):
        names.append(run.stage)
    is_over = run.state == "finished" or run.stage == DONE
    at = len(names) if is_over else names.index(run.stage) if run.stage else -1
    found = []
    for place, name in enumerate(names):
        percent = 100 if place < at else 0
        if place == at:
            percent = round(100 * run.done / run.total) if run.total else 0
        where = "done" if place < at else "current" if place == at else "to come"
        found.append({"name": name, "is": where, "percent": percent})
    return found


def now_line(run: RunModel, waiting: int) -> dict[str, str]:
    """Return what a run does now: ``what``, how much is ``left``, and the stage's ``note``.

    Args:
        run: As the API shows it.
        waiting: How many go before it, where it is queued.
    """
    where = f"{run.stage}, {run.done:,} of {run.total:,}" if run.stage not in ("", DONE) else ""
    left = "" if run.seconds_left is None else f"about {duration(run.seconds_left)} left in this stage"
    if run.state == "running":
        what = "Stopping, and putting things down." if run.stopping else where or "Getting ready."
        return {"what": what.capitalize() if what == where else what, "left": left, "note": run.note}
    ahead = "next in line" if waiting == 0 else f"{waiting} before it"
    said = {
        "queued": f"Waiting for {run.device}: {ahead}.",
        "paused": "Paused. It goes on from where it was.",
        "cancelled": "Cancelled. What was found is kept.",
        "failed": "Failed.",
        "finished": f"Finished in {duration(_seconds(run.started, run.finished))}.",
    }
    return {"what": said[run.state], "left": where if run.state != "finished" else "", "note": ""}


def waiting_words(run: RunModel) -> dict[str, str]:
    """Return what stands in the place of a front that has no members yet."""
    title = "No front yet"
    if run.state == "queued":
        return {
            "title": title,
            "detail": "The run waits for its turn; the front grows here once it has begun.",
        }
    if run.state == "running":
        detail = (
            "The supernet is trained first. Then every architecture appears here as soon as it is measured."
        )
        return {"title": title, "detail": detail}
    return {"title": title, "detail": f"The run is {run.state} and has evaluated nothing."}


def surrogate_figures(trust: Trust | None, objective: Objective | None) -> list[dict[str, str]]:
    """Return how well predictions agree with what was measured; empty where nothing is known."""
    if trust is None or objective is None:
        return []
    figures = []
    for found in trust.predictions:
        if found.objective != objective.name:
            continue
        detail = f"of {label(objective.name)}, predicted before {found.num_trials} evaluations"
        figures.append(
            {"name": "error", "value": change(objective, found.rmse).lstrip("+±−"), "detail": detail}
        )
        if found.kendall_tau is not None:
            detail = "order of the same predictions and what was measured; 1 is the same"
            figures.append({"name": "Kendall's τ", "value": f"{found.kendall_tau:.2f}", "detail": detail})
    figures += _latest_figure(objective, trust.refits)
    if trust.rank_agreement is not None:
        detail = (
            f"order of {trust.num_compared} architectures in the supernet and after training on their own; "
            "1 is the same"
        )
        figures.append({"name": "supernet's τ", "value": f"{trust.rank_agreement:.2f}", "detail": detail})
    return figures


def _latest_figure(objective: Objective, refits: Iterable[Refit]) -> list[dict[str, str]]:
    """Return the error since the surrogate's latest refit, beside those of the refits before it; none without."""
    known = [
        (refit.name, found)
        for refit in refits
        for found in refit.predictions
        if found.objective == objective.name
    ]
    if not known:
        return []
    *before, (name, latest) = known
    errors = [change(objective, found.rmse).lstrip("+±−") for _, found in before]
    earlier = f"; {' and '.join(errors)} since the refits before it" if errors else ""
    detail = f"the same for the {latest.num_trials} evaluations since the {name}{earlier}"
    value = change(objective, latest.rmse).lstrip("+±−")
    return [{"name": "error, of late", "value": value, "detail": detail}]


def duration(seconds: float) -> str:
    """Return a duration in its largest unit that fits, and the next."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def ago(time: str | None, now: datetime) -> str:
    """Return how long ago an ISO time was."""
    if time is None:
        return "not yet"
    seconds = (now - datetime.fromisoformat(time)).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 86400:
        return f"{seconds // 3600:.0f} h ago"
    return f"{seconds // 86400:.0f} days ago" if seconds >= 2 * 86400 else "yesterday"


def _seconds(first: str | None, last: str | None) -> float:
    if first is None or last is None:
        return 0.0
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def changes(run: RunModel) -> list[tuple[str, str]]:
    """Return what was changed in a run's study, and what it runs on, by name."""
    told = [("on", str(run.device))]
    for name, value in run.changes.items():
        if name == "constraints":
            told += [(f"{label(quantity)} ≤", f"{limit:,g}") for quantity, limit in value.items()]
        elif name == "objectives":
            told.append(("objectives", ", ".join(label(objective) for objective in value)))
        elif name == "prior":
            told.append(("learned from", ", ".join(value)))
        elif name != "device":
            told.append((label(name), f"{value:,}" if isinstance(value, int) else str(value)))
    return told
