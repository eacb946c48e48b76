"""What a user may change in a study without editing its file: the command line and the service check it alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def change_fault(
    study: str,
    changes: Mapping[str, Any],
    *,
    changeable: Collection[str],
    objectives: Sequence[str],
    limitable: Collection[str],
) -> str | None:
    """Return in a sentence what is wrong with changes of a study; None where nothing is.

    Args:
        study: Its name.
        changes: By aspect. ``objectives`` are names of those to keep, ``constraints`` limits by name of a quantity.
        changeable: Aspects that may be changed.
        objectives: Names of the study's, the quality first.
        limitable: Names of the quantities that a constraint may be put on.
    """
    for aspect in changes:
        if aspect not in changeable:
            allowed = ", ".join(changeable) or "nothing"
            return (
                f"study {study!r} doesn't let its {aspect} be changed (what may be: {allowed}): leave it as it is, or "
                "name it in the study's changeable."
            )
    kept = changes.get("objectives", objectives)
    unknown = [name for name in kept if name not in objectives]
    if unknown:
        return f"study {study!r} has no objective {unknown[0]!r}: choose among {list(objectives)}."
    wanted = f"the objectives of study {study!r} are to be {list(kept)}"
    if len(set(kept)) < len(kept):
        return f"{wanted}: name each once."
    if objectives[0] not in kept:
        return f"{wanted}: {objectives[0]!r} must stay, because it is the quality that is searched for."
    strange = [name for name in changes.get("constraints", {}) if name not in limitable]
    if strange:
        known = sorted(limitable)
        return f"study {study!r} has no quantity {strange[0]!r} to put a constraint on: choose among {known}."
    return None
