"""What a request wants changed in a study, checked against what the catalogue says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas.changes import change_fault
from nas.service.models import NewRun, StudyModel
from nas.service.problems import Problem


def check_changes(
    study: StudyModel, asked: NewRun, devices: Sequence[str], earlier: Sequence[str]
) -> dict[str, Any]:
    """Return what a request changes in a study, by aspect; what it leaves out or empty is no change.

    Any study may learn from ``earlier`` runs: that changes where it looks, and nothing of what it finds.

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
        raise _make_refusal(fault[0].upper() + fault[1:])
    if "device" in changes and changes["device"] not in devices:
        raise _make_refusal(f"There is no device {changes['device']!r}: choose among {list(devices)}.")
    unknown = [run for run in changes.get("prior", []) if run not in earlier]
    if unknown:
        raise _make_refusal(
            f"There is no run {unknown[0]!r} that {study.name} could learn from: choose among {list(earlier)}."
        )
    return changes


def _make_refusal(sentence: str) -> Problem:
    return Problem(422, "not-valid", sentence)
