"""How often an address may try wrong tokens."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections.abc import Callable
from typing import final

from nas.service.problems import Problem


@final
class Attempts:
    """Counts wrong tokens per address, over a sliding window, in this process: one service has a folder or database.

    What is over is forgotten at every attempt, so guesses from ever new addresses don't fill the memory; the library
    ``limits`` (5.8) keeps an entry of each for ever.

    Args:
        limit: Wrong ones before an address has to wait.
        window_s: Seconds that a wrong one counts for.
        now: Seconds on any clock that never goes back.
    """

    def __init__(self, limit: int, window_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._window_s, self._now = limit, window_s, now
        self._failures: dict[str, list[float]] = {}  # times by address; whoever failed last comes last
        self._lock = threading.Lock()

    def check(self, address: str, *, is_right: bool) -> None:
        """Look at an attempt, unless its address must wait, and count it if the token is wrong.

        Attempts of many threads come one after another, so that none slips through before the others are counted.

        Raises:
            Problem: the address must wait (429), whether the token is right or not.
        """
        source = source_of(address)
        with self._lock:
            now = self._now()
            begin = now - self._window_s
            while self._failures and self._failures[first := next(iter(self._failures))][-1] <= begin:
                del self._failures[first]
            recent = [at for at in self._failures.get(source, ()) if at > begin]
            if len(recent) >= self._limit:
                raise _make_wait(recent[0] - begin)
            if not is_right:
                self._failures.pop(source, None)
                self._failures[source] = [*recent, now]


def _make_wait(seconds: float) -> Problem:
    wait = max(1, math.ceil(seconds))
    return Problem(
        429,
        "too-many-attempts",
        f"Too many wrong tokens came from this address: try again in {wait} s.",
        headers={"Retry-After": str(wait)},
    )


def source_of(address: str) -> str:
    """Return what attempts are counted by: an IPv4 address, or the /64 network that one host with IPv6 may have."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((int(known), 64), strict=False))
