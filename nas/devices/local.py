"""Timing on this machine, whatever runs the networks: one core, one measurement at a time."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np
from filelock import FileLock

from nas.devices.device import Timings
from nas.errors import one_line

logger = logging.getLogger(__name__)

_WARM_UP_RUNS = 10


@final
class LocalSession:
    """Networks that run in this process.

    Args:
        runs: Each makes one forward pass of a network.
    """

    def __init__(self, runs: Sequence[Callable[[], object]]) -> None:
        self._runs = runs
        for run in runs:
            for _ in range(_WARM_UP_RUNS):
                run()

    def time(self, order: Sequence[int], runs: int) -> Timings:
        """Run networks in turns."""
        seconds = np.empty((len(order), runs))
        with _without_collector():
            wall, cpu = time.perf_counter(), time.thread_time()
            for turn, position in enumerate(order):
                run = self._runs[position]
                run()
                for column in range(runs):
                    begin = time.perf_counter()
                    run()
                    seconds[turn, column] = time.perf_counter() - begin
            share = (time.thread_time() - cpu) / (time.perf_counter() - wall)
        return Timings(seconds, min(share, 1.0))


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextlib.contextmanager
def on_last_core() -> Iterator[None]:
    """Keep this thread on the last core until the end of the block, where the system can.

    Always the same core, because those of a machine may differ. Threads that were made before stay where they are.
    """
    if sys.platform != "linux":
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextlib.contextmanager
def turn_of_this_process() -> Iterator[None]:
    """Wait until no other process of this user's measures, as far as they share a folder for temporary files."""
    lock = FileLock(Path(tempfile.gettempdir(), f"nas-latency-{os.getuid()}.lock"))
    try:
        lock.acquire()
    except OSError as error:
        logger.warning("other processes may measure at the same time, because %s", one_line(error))
    try:
        yield
    finally:
        lock.release()
