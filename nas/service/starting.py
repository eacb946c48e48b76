"""What a new run may be: what it may change in its study, learn from, and take of its token's limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import JsonValue

from nas.changes import change_fault
from nas.errors import NasError
from nas.runner.directory import RunDirectory
from nas.service.models import NewRun, StudyModel
from nas.service.problems import Problem, make_refusal
from nas.service.settings import Settings
from nas.service.store import UNFINISHED, Run, Store

_LOOKED_AT = 100
"""Newest runs that a new one may learn from; each costs reading a small file."""


def check_changes(study: StudyModel, asked: NewRun, earlier: Sequence[str]) -> dict[str, JsonValue]:
    """Return what a request changes in a study, by aspect; what it leaves out or empty is no change.

    Any study whose strategy uses what is known may learn from ``earlier`` runs: that changes where it looks, and
    nothing of what it finds.

    Raises:
        Problem: the study can't be used (409), or doesn't have or allow what is asked (422).
    """
    if study.error:
        raise Problem(409, "broken-study", f"The study {study.name} can't be used: {study.error}")
    changes = asked.model_dump(exclude={"study"}, exclude_none=True)
    changes = {aspect: value for aspect, value in changes.items() if value not in ([], {})}
    movable = ["device"] if changes.get("device") in study.devices else []  # to a cluster, say
    fault = change_fault(
        study.name,
        changes,
        changeable=[*study.changeable, *movable, "prior"],
        objectives=[objective.name for objective in study.objectives],
        limitable=[quantity.name for quantity in study.constraints],
    )
    if fault is not None:
        raise make_refusal(fault[0].upper() + fault[1:])
    if "device" in changes and changes["device"] not in study.devices:
        raise make_refusal(f"There is no device {changes['device']!r}: choose among {study.devices}.")
    _check_prior(study, changes.get("prior", []), earlier)
    return changes


def _check_prior(study: StudyModel, prior: Sequence[str], earlier: Sequence[str]) -> None:
    if prior and not study.uses_knowledge:
        raise make_refusal(
            f"Study {study.name!r} has a strategy that learns nothing from earlier runs: leave prior out, or give the "
            "study SurrogateSearch."
        )
    unknown = [run for run in prior if run not in earlier]
    if unknown:
        raise make_refusal(
            f"There is no run {unknown[0]!r} that {study.name} could learn from: choose among {list(earlier)}."
        )


def earlier_runs(store: Store, directory: Callable[[str], Path], study: str) -> list[Run]:
    """Return those that may tell a new run of a study where to look, newest first.

    Their search has begun, and they are of the study, or have the choices that a run of it has.

    Args:
        store: Store of the service.
        directory: Returns a run's directory, given its id.
        study: By name.
    """
    begun = [(run, _choices(directory(run.id))) for run in store.runs(before=None, limit=_LOOKED_AT)]
    own = [choices for run, choices in begun if run.study == study]
    return [run for run, choices in begun if choices is not None and (run.study == study or choices in own)]


def _choices(path: Path) -> frozenset[str] | None:
    """Return the names of a run's choices; None before its search has begun, or where that can't be read."""
    directory = RunDirectory(path)
    if not directory.has_trials():
        return None
    try:
        return frozenset(choice.name for choice in directory.search_space().choices)
    except NasError:
        return None


def check_quota(store: Store, settings: Settings, token_id: str, evaluations: int) -> None:
    """Refuse a study that is one too many for its token.

    Raises:
        Problem: a limit is hit (429); tells limit and use.
    """
    mine = store.runs_in(UNFINISHED, token_id)
    if len(mine) >= settings.max_unfinished:
        said = f"This token has {len(mine)} unfinished studies and may have {settings.max_unfinished}: wait for one, "
        raise make_limit_problem(
            f"{said}or cancel one.", settings.max_unfinished, len(mine), "unfinished studies"
        )
    used = sum(run.evaluations for run in mine)
    if used + evaluations > settings.max_evaluations:
        said = (
            f"This token's unfinished studies have {used} evaluations, {evaluations} more were asked for, and it may "
            f"have {settings.max_evaluations}: ask for fewer, wait for a study, or cancel one."
        )
        raise make_limit_problem(said, settings.max_evaluations, used, "evaluations")


def make_limit_problem(said: str, limit: int, used: int, what: str) -> Problem:
    """Return the problem of who has ``used`` all of ``what`` that a token may have."""
    return Problem(429, "limit-reached", said, more={"limit": limit, "used": used, "what": what})
