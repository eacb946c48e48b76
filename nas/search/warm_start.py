"""Known architectures that a search evaluates first."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from nas.choices import Option
from nas.errors import SpaceError, StudyError
from nas.search.record.trials import options_of
from nas.space import Architecture
from nas.strategy import Problem


def read_architectures(path: Path) -> tuple[Mapping[str, Option], ...]:
    """Read architectures from a JSON file: what ``nas front --json`` prints, or a list of choices.

    Raises:
        StudyError: the file isn't there, or holds something else.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StudyError(
            f"the architectures to start from can't be read from {path} ({reason}): give a JSON file that "
            "'nas front --json' printed."
        ) from error
    rows = [_choices(row) for row in content] if isinstance(content, list) else [None]
    if any(row is None for row in rows):
        raise StudyError(
            f"{path} is no list of architectures: give what 'nas front --json' prints, or a list of objects with "
            "an option for every choice."
        )
    return tuple(row for row in rows if row is not None)


def _choices(row: Any) -> Mapping[str, Option] | None:
    inner = row.get("choices", row) if isinstance(row, dict) else None
    return inner if isinstance(inner, dict) else None


def check(problem: Problem, architectures: Sequence[Mapping[str, Option]]) -> list[Architecture]:
    """Return canonical architectures without repeats, in order.

    Raises:
        StudyError: one is not of this space.
    """
    found = []
    for number, options in enumerate(architectures, 1):
        try:
            found.append(problem.space.architecture(options))
        except SpaceError as error:
            raise StudyError(f"architecture {number} of the warm start doesn't fit: {error}") from error
    return list(dict.fromkeys(found))


def queue(
    study: optuna.Study,
    problem: Problem,
    architectures: Sequence[Mapping[str, Option]],
    say: Callable[[str], None],
) -> None:
    """Queue architectures as the study's next trials, whatever its sampler; known and queued ones are left out.

    Architectures that exceed a hard constraint are left out too, in a sentence: a front of another
    study may well hold some.

    Raises:
        StudyError: one is not of this space.
    """
    wanted = check(problem, architectures)
    if not wanted:
        return
    options = [options_of(problem.space, trial) for trial in study.get_trials(deepcopy=False)]
    # Those of an earlier call too: the same command again must not queue them twice.
    there = {problem.space.architecture(made).id for made in options if made is not None}
    violation = problem.violation(problem.space.indices(wanted))
    for architecture, excess in zip(wanted, violation, strict=True):
        if excess <= 0 and architecture.id not in there:
            study.enqueue_trial(dict(architecture))
    if (violation > 0).any():
        say(
            f"{(violation > 0).sum()} of {len(wanted)} architectures of the warm start exceed the constraints and "
            "are left out."
        )
