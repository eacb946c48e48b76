"""What the agent says instead of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Refusal(Exception):  # noqa: N818 - most are no errors: a device may be busy, or warm
    """A request is turned down.

    Args:
        status: Status code of HTTP.
        code: A word for programs: ``busy``, ``missing``, ``operator``, ...
        message: A sentence for people.
        facts: What else a program wants to know.
    """

    def __init__(self, status: int, code: str, message: str, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"error": code, "message": message, **(facts or {})}
