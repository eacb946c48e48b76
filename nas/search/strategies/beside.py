"""A sampler's long computations run in a thread while the search goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import final

Take = Callable[[], None]
"""Puts a result into use; called in the search's own thread."""
Make = Callable[[], Take]
"""Computes for long, from values that don't change meanwhile, and returns what puts the result into use."""


@final
class Beside:
    """Does one computation at a time, in a thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "beside-the-search")
        self._making: Future[Take] | None = None

    def is_free(self) -> bool:
        """Put a result that is ready into use, and return whether the next computation may begin.

        Raises:
            BaseException: what the computation raised.
        """
        if self._making is not None and self._making.done():
            made, self._making = self._making, None
            made.result()()
        return self._making is None

    def begin(self, make: Make) -> None:
        """Begin the next computation."""
        self._making = self._pool.submit(make)

    def close(self) -> None:
        """Wait for the computation that is under way, whose result is no longer of use."""
        self._pool.shutdown()
