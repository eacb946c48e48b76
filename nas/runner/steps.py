"""Results of a run's steps, each kept with what it was made from, so that it is never made twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.files import digest, read_json, write_json


def stored_result(path: Path, inputs: object) -> Any | None:
    """Return the result that a step stored in ``path`` if it was made from the same ``inputs``."""
    if not path.exists():
        return None
    stored = read_json(path)
    return stored["result"] if stored["inputs"] == digest(inputs) else None


def store_result(path: Path, inputs: object, result: object) -> None:
    """Store the result of a step and what it was made from."""
    write_json(path, {"inputs": digest(inputs), "result": result})
