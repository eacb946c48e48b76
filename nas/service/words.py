"""What the page says: labels, numbers with units, stages, times. Text only; templates decide how it looks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, final

from nas.front import Upgrade, is_noise
from nas.objective import Direction, Objective
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
from nas.report.tables import choose_unit, format_value
from nas.service.models import Changes, Predictions, Refit, RunModel, Trust
from nas.service.runs import Snapshot

_STAGES = {
    PRETRAIN_SUPERNET: False,
    TRAIN_SUPERNET: True,
    SCORE_UNTRAINED: False,
    CHOOSE_PROXY: False,
    SEARCH: True,
    ADAPT_CANDIDATES: False,
    FINISH_WINNERS: True,
    CHECK_RANKING: True,
}
"""Stages in their order, and whether every run has them; the others are shown while they are under way."""
_NAMES = {
    "macs": "MACs",
    "flops": "FLOPs",
    "num_params": "parameters",
    "weight_bytes": "weights",
    "file_bytes": "file size",
}


@final
@dataclass(frozen=True)
class ShownObjective:
    """What the page needs of an objective: ``factor`` leads from a value to the unit that it's shown in."""

    name: str
    label: str
    unit: str
    direction: Direction
    shown_unit: str
    factor: float


@final
@dataclass(frozen=True)
class ShownStep:
    """What the next step costs and buys: the trial that it leads to, and the limit of a column that lets it in."""

    number: int
    column: int
    limit: float
    text: str
    detail: str


class Stage(NamedTuple):
    """A stage of a run; ``place`` is done, current or to come."""

    name: str
    place: str
    percent: int


class Now(NamedTuple):
    """What a run does now, how much is left, and the stage's note."""

    what: str
    left: str
    note: str


class Figure(NamedTuple):
    """A figure about the surrogate."""

    name: str
    value: str
    detail: str


def label(name: str) -> str:
    """Return an objective's name for people, without the unit."""
    return _NAMES.get(name) or tables.label(name)


def describe_objective(objective: Objective, values: Iterable[float] = ()) -> ShownObjective:
    """Return what the page needs of an objective.

    Args:
        objective: An objective of the study.
        values: Measured so far; an objective whose values are rates is typed and shown in percent.
    """
    unit, factor = choose_unit(objective, values)
    return ShownObjective(
        objective.name, label(objective.name), objective.unit, objective.direction, unit, factor
    )


def change(objective: Objective, difference: float) -> str:
    """Return a difference with its sign and two digits that mean something; of rates, in points."""
    size = abs(difference)
    text = format_value(size, objective)
    if text.endswith(" %"):
        text = f"{100 * size:.2f} points"
    elif size < 1000 and objective.unit != "B":
        text = f"{size:.2g} {objective.unit}".rstrip()
    return f"{'+' if difference > 0 else '−' if difference < 0 else '±'}{text}"


def describe_step(snapshot: Snapshot, step: Upgrade, goal: int) -> ShownStep:
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
    return ShownStep(row.number, step.column, row.values[spent.name].value, text, detail)


def stages(run: RunModel) -> list[Stage]:
    """Return the stages of a run."""
    names = [name for name, is_everywhere in _STAGES.items() if is_everywhere or name == run.stage]
    if run.stage not in (*names, "", DONE):
        names.append(run.stage)
    is_over = run.state == "finished" or run.stage == DONE
    at = len(names) if is_over else names.index(run.stage) if run.stage else -1
    found = []
    for place, name in enumerate(names):
        percent = 100 if place < at else 0
        if place == at:
            percent = round(100 * run.done / run.total) if run.total else 0
        found.append(Stage(name, "done" if place < at else "current" if place == at else "to come", percent))
    return found


def now_line(run: RunModel, waiting: int) -> Now:
    """Return what a run does now.

    Args:
        run: As the API shows it.
        waiting: How many go before it, where it is queued.
    """
    where = f"{run.stage}, {run.done:,} of {run.total:,}" if run.stage not in ("", DONE) else ""
    left = "" if run.seconds_left is None else f"about {duration(run.seconds_left)} left in this stage"
    if run.state == "running":
        what = "Stopping, and putting things down." if run.stopping else where or "Getting ready."
        return Now(what.capitalize() if what == where else what, left, run.note)
    ahead = "next in line" if waiting == 0 else f"{waiting} before it"
    said = {
        "queued": f"Waiting for {run.device}: {ahead}.",
        "paused": "Paused. It goes on from where it was.",
        "cancelled": "Cancelled. What was found is kept.",
        "failed": "Failed.",
        "finished": f"Finished in {duration(_seconds(run.started, run.finished))}.",
    }
    return Now(said[run.state], where if run.state != "finished" else "", "")


def surrogate_figures(trust: Trust | None, objective: Objective | None) -> list[Figure]:
    """Return how well predictions agree with what was measured; empty where nothing is known."""
    if trust is None or objective is None:
        return []
    figures = []
    for found in trust.predictions:
        if found.objective != objective.name:
            continue
        detail = f"of {label(objective.name)}, predicted before {found.num_trials} evaluations"
        figures.append(Figure("error", _error(objective, found), detail))
        if found.kendall_tau is not None:
            detail = "order of the same predictions and what was measured; 1 is the same"
            figures.append(Figure("Kendall's τ", f"{found.kendall_tau:.2f}", detail))
    figures += _latest_figure(objective, trust.refits)
    if trust.rank_agreement is not None:
        how = "in the supernet and after training on their own; 1 is the same"
        detail = f"order of {trust.num_compared} architectures {how}"
        figures.append(Figure("supernet's τ", f"{trust.rank_agreement:.2f}", detail))
    return figures


def _latest_figure(objective: Objective, refits: Iterable[Refit]) -> list[Figure]:
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
    errors = " and ".join(_error(objective, found) for _, found in before)
    earlier = f"; {errors} since the refits before it" if before else ""
    detail = f"the same for the {latest.num_trials} evaluations since the {name}{earlier}"
    return [Figure("error, of late", _error(objective, latest), detail)]


def _error(objective: Objective, found: Predictions) -> str:
    return change(objective, found.rmse).lstrip("+±−")


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
    made = Changes.model_validate(run.changes)
    told = [("on", run.device)]
    numbers = {"evaluations": made.evaluations, "seed": made.seed}
    told += [(name, f"{value:,}") for name, value in numbers.items() if value is not None]
    if made.objectives:
        told.append(("objectives", ", ".join(map(label, made.objectives))))
    told += [(f"{label(name)} ≤", f"{limit:,g}") for name, limit in (made.constraints or {}).items()]
    return [*told, ("learned from", ", ".join(made.prior))] if made.prior else told
