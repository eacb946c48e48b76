"""What keeps a measurement undisturbed: one core, no garbage collector, and a clock that fits."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator

_MAX_RUNS = 100
"""What the host of a virtual machine takes back from a thread's clock is milliseconds, so a clock that stood still
moves within so many runs of any network; one that doesn't is broken, and its zero is told."""


def time_run(run: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the seconds that a run took, which is repeated where the clock stood still.

    Linux takes the time in which a host withheld its processor from a thread's clock afterwards, so this clock may
    stand still while the thread works.
    """
    passed = 0.0
    for _ in range(_MAX_RUNS):
        begin = clock()
        run()
        passed = clock() - begin
        if passed > 0:
            break
    return passed


def steps_finely() -> bool:
    """Return whether a thread's own clock can be used: that of some systems moves every 10 ms."""
    return len({time.thread_time() for _ in range(100)}) > 50


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this thread on a core until the end of the block, where the system can.

    Threads that were made before stay where they are.
    """
    if sys.platform != "linux":
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Collect no garbage until the end of the block."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
