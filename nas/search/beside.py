"""What takes a sampler long is done in a thread while the search goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import final

Take = Callable[[], None]
Make = Callable[[], Take]
"""Takes long, and returns what puts into use what came out; uses nothing that changes meanwhile."""


@final
class Beside:
    """Has one thing made at a time, in a thread that doesn't outlive the process."""

    def __init__(self) -> None:
        self._to_make: queue.SimpleQueue[Make] = queue.SimpleQueue()
        self._made: queue.SimpleQueue[Take | BaseException] = queue.SimpleQueue()
        self._is_busy = False
        self._thread = threading.Thread(target=self._go_on, name="nas beside the search", daemon=True)

    def is_free(self) -> bool:
        """Put into use what was made since the last call, and return whether the next thing may begin.

        Raises:
            BaseException: what making it raised.
        """
        if self._is_busy and not self._made.empty():
            self._is_busy = False
            made = self._made.get()
            if isinstance(made, BaseException):
                raise made
            made()
        return not self._is_busy

    def begin(self, make: Make) -> None:
        """Begin the next thing."""
        self._is_busy = True
        if not self._thread.is_alive():
            self._thread.start()
        self._to_make.put(make)

    def _go_on(self) -> None:
        while True:
            make = self._to_make.get()
            try:
                self._made.put(make())
            except BaseException as error:  # raised where it is asked for
                self._made.put(error)
