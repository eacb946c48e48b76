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
    """Runs one computation at a time in a thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "beside-the-search")
        self._making: Future[Take] | None = None

    def is_free(self) -> bool:
        """Use the result of a computation that has ended, and return whether the next one may begin.

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
        """Wait for the end of the running computation; its result is not used."""
        self._pool.shutdown()
