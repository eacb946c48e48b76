"""``run.json``: what a run is made with, and must go on with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from nas.errors import StudyChangedError
from nas.objective import Objective
from nas.stored import read_stored, write_stored


@final
@dataclass(frozen=True)
class Manifest:
    """What readers need of ``run.json``; the rest of it is only ever compared.

    Args:
        study: Its name.
        space: Description of the search space.
        values: The objectives, in the order of a trial's values.
        data: Fingerprint of the data.
    """

    study: str
    space: Mapping[str, Any]
    values: tuple[Objective, ...]
    data: str = ""


def claim_manifest(path: Path, description: Mapping[str, Any]) -> None:
    """Store what a run is made with, or compare with what it was made with.

    Args:
        path: Path of ``run.json``, in the run directory.
        description: Plain values by aspect: space, data, objectives, and so on.

    Raises:
        StudyChangedError: an aspect differs.
    """
    if not path.exists():
        write_stored(path, description)
        return
    read_stored(path, Manifest)  # raises where what readers need isn't there
    stored = read_stored(path, dict[str, Any])
    changed = [aspect for aspect in description if stored.get(aspect) != description[aspect]]
    if changed:
        details = "; ".join(_describe_change(a, stored.get(a), description[a]) for a in changed)
        raise StudyChangedError(
            f"the study no longer matches what {path.parent} was made with: {details}. Undo the change, or "
            "run in another directory with --out; nothing here was touched."
        )


def _describe_change(aspect: str, before: object, after: object) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [k for k in {**before, **after} if before.get(k) != after.get(k)]
        if keys and keys != list(before):
            inner = "; ".join(
                _describe_change(f"{aspect} {key!r}", before.get(key), after.get(key)) for key in keys[:3]
            )
            return inner + (f"; and {len(keys) - 3} more" if len(keys) > 3 else "")
    return f"{aspect} was {_shorten(before)} and is now {_shorten(after)}"


def _shorten(value: object, limit: int = 160) -> str:
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
