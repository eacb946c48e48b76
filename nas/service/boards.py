"""The boards that studies measure on, as their agents say that they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import final

from nas.devices.remote import Remote
from nas.devices.states import DeviceState, states_of
from nas.errors import ServiceError, StudyError

_KEPT_S = 5.0
"""However many look at the page, a board is asked so often; it answers while it measures, which that disturbs."""


@final
class Boards:
    """Asks agents how their devices are.

    Args:
        urls: Where they listen; their token is in the environment variable ``NAS_AGENT_TOKEN``.

    Raises:
        ServiceError: one is no address.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        try:
            self._devices = [Remote(url) for url in urls]
        except StudyError as error:
            raise ServiceError(f"an agent of the service can't be asked: {error}") from error
        self._lock = threading.Lock()
        self._known: list[DeviceState] = []
        self._asked = -_KEPT_S

    def states(self) -> list[DeviceState]:
        """Return how each is, not older than five seconds."""
        with self._lock:
            if self._devices and time.monotonic() - self._asked >= _KEPT_S:
                self._known, self._asked = states_of(self._devices), time.monotonic()
            return self._known
