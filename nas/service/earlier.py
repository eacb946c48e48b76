"""Earlier runs that a new one may learn from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nas.errors import NasError
from nas.runner.directory import RunDirectory
from nas.service.store import Run, Store

_LOOKED_AT = 100
"""Newest runs; each costs reading a small file."""


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
