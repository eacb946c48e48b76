"""Timing on this machine, whatever runs the networks: one core, one measurement at a time."""

from __future__ import annotations

import contextlib
import itertools
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

from nas.checks import check_integers
from nas.devices.agent.undisturbed import on_core, steps_finely, without_collector
from nas.devices.device import Device, Timings
from nas.devices.machine import processor_name
from nas.errors import StudyError, one_line

logger = logging.getLogger(__name__)

_WARM_UP_RUNS = 3
"""The first allocates memory; what the others don't warm, a low quantile of the times doesn't see."""


def check_threads(device: Device, threads: int) -> None:
    """Refuse a number of threads that is not a whole one from 1 on.

    Raises:
        StudyError: it is something else.
    """
    check_integers(device, "threads")
    if threads < 1:
        raise StudyError(f"{type(device).__name__} has threads={threads}: it must be 1 or more.")


def local_identity(threads: int, runtime: str) -> str:
    """Return what times on this machine depend on: the processor, the threads, and a runtime with its version."""
    return f"{processor_name()}, {threads} thread(s), {runtime}"


@final
class LocalSession:
    """Networks that run in this process.

    Args:
        runs: Each makes one forward pass of a network.
        in_this_thread: Whether a pass is the work of the calling thread alone. Then that thread's own clock is read,
            which stands while other processes have the core.
    """

    def __init__(self, runs: Sequence[Callable[[], object]], *, in_this_thread: bool = False) -> None:
        self._runs = runs
        self._cores = _last_cores()
        self._stands = in_this_thread and steps_finely()
        for run in runs:
            for _ in range(_WARM_UP_RUNS):
                run()

    def time(self, order: Sequence[int], runs: int) -> Timings:
        """Run networks in turns, on another core than the last time where there are several."""
        seconds = np.empty((len(order), runs))
        clock = time.thread_time if self._stands else time.perf_counter
        with without_collector(), on_core(next(self._cores)):
            wall, cpu = time.perf_counter(), time.thread_time()
            for turn, position in enumerate(order):
                run = self._runs[position]
                run()
                for column in range(runs):
                    begin = clock()
                    run()
                    seconds[turn, column] = clock() - begin
            share = (time.thread_time() - cpu) / (time.perf_counter() - wall)
        return Timings(seconds, 1.0 if self._stands else min(share, 1.0))


def _last_cores() -> Iterator[int]:
    """Return the last two cores in turns, endlessly."""
    return itertools.cycle(sorted(os.sched_getaffinity(0))[:-3:-1] if sys.platform == "linux" else [0])


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
