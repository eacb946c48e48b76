"""A listener that says nothing."""

from __future__ import annotations


class Quiet:
    """Progress that nobody watches."""

    def start(self, stage: str, total: int, done: int) -> None:
        """Ignore."""

    def advance(self, note: str) -> None:
        """Ignore."""

    def say(self, sentence: str) -> None:
        """Ignore."""
