"""What takes a sampler long is made in a thread while the search goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import final

Take = Callable[[], None]
Make = Callable[[], Take]
"""Takes long, reads nothing that changes meanwhile, and returns what puts into use what came out."""


@final
class Beside:
    """Has one thing made at a time, in a thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "beside-the-search")
        self._making: Future[Take] | None = None

    def is_free(self) -> bool:
        """Put into use what is made by now, and return whether the next thing may begin.

        Raises:
            BaseException: what making it raised.
        """
        if self._making is not None and self._making.done():
            made, self._making = self._making, None
            made.result()()
        return self._making is None

    def begin(self, make: Make) -> None:
        """Begin the next thing."""
        self._making = self._pool.submit(make)

    def close(self) -> None:
        """Wait for what is being made, of which there is no more use."""
        self._pool.shutdown()
