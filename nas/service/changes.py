"""What a request wants changed in a study, checked against what the catalogue says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas.service.models import NewRun, StudyModel
from nas.service.problems import Problem


def checked_changes(study: StudyModel, asked: NewRun, devices: Sequence[str]) -> dict[str, Any]:
    """Return what a request changes in a study, by aspect; what it leaves out or empty is no change.

    Raises:
        Problem: the study can't be used (409), or doesn't have or allow what is asked (422).
    """
    if study.error:
        raise Problem(409, "broken-study", f"The study {study.name} can't be used: {study.error}")
    changes = asked.model_dump(exclude={"study"}, exclude_none=True)
    changes = {aspect: value for aspect, value in changes.items() if value not in ([], {})}
    forbidden = [aspect for aspect in changes if aspect not in study.changeable]
    if forbidden:
        allowed = ", ".join(study.changeable) or "nothing"
        raise _refused(
            f"The study {study.name} doesn't let its {forbidden[0]} be changed; what may be: {allowed}."
        )
    _check_objectives(study, changes.get("objectives"))
    _check_constraints(study, changes.get("constraints", {}))
    if "device" in changes and changes["device"] not in devices:
        raise _refused(f"There is no device {changes['device']!r}: choose among {list(devices)}.")
    return changes


def _check_objectives(study: StudyModel, names: Sequence[str] | None) -> None:
    if names is None:
        return
    known = [objective.name for objective in study.objectives]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise _refused(f"The study {study.name} has no objective {unknown[0]!r}: choose among {known}.")
    if len(set(names)) < len(names):
        raise _refused(f"The objectives {list(names)} name one twice: name each once.")
    if known[0] not in names:
        raise _refused(
            f"The objectives lack {known[0]!r}: it is the quality that is searched for, and must stay."
        )


def _check_constraints(study: StudyModel, limits: Mapping[str, float]) -> None:
    known = [quantity.name for quantity in study.constraints]
    unknown = [name for name in limits if name not in known]
    if unknown:
        raise _refused(
            f"The study {study.name} has no quantity {unknown[0]!r} to limit: choose among {known}."
        )


def _refused(sentence: str) -> Problem:
    return Problem(422, "not-valid", sentence)
