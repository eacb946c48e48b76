"""Runtimes on this machine: one core, one measurement at a time, whatever runs the networks."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout

from nas.checks import check_integers
from nas.devices.agent.undisturbed import on_core, steps_finely, time_run, without_collector
from nas.devices.device import Device, Session, Timings
from nas.devices.machine import processor_name
from nas.errors import StudyError, one_line

logger = logging.getLogger(__name__)

_WARM_UP_RUNS = 3
"""The first allocates memory; what the others don't warm, a low quantile of the times doesn't see."""
_SILENT_S = 20.0
"""Longer than a usual measurement, so that processes which take turns say nothing."""
_OUT_OF_MEMORY = (
    "Failed to allocate memory",
    "smaller than requested bytes",
    "bad_alloc",
    "bad allocation",
)
"""What ONNX Runtime's allocators and the C++ library say."""


def check_threads(device: Device, threads: int) -> None:
    """Refuse a number of threads that is not a whole one from 1 on.

    Raises:
        StudyError: it is something else.
    """
    check_integers(device, "threads")
    if threads < 1:
        raise StudyError(f"{type(device).__name__} has threads={threads}: it must be 1 or more.")


@dataclass(frozen=True)
class LocalRuntime(ABC):
    """A device that is a runtime on this machine's CPU. Each runtime says its version and loads a network.

    Args:
        threads: Threads of one operator; operators run one after another.

    Raises:
        StudyError: a setting is out of range.
    """

    threads: int = 1

    def __post_init__(self) -> None:
        check_threads(self, self.threads)

    @abstractmethod
    def version(self) -> str:
        """Return the runtime's name and version: ``ONNX Runtime 1.25.0``.

        Raises:
            StudyError: it isn't installed.
        """

    @abstractmethod
    def load(self, model: bytes, batch_size: int) -> Callable[[], object]:
        """Return a function that makes one forward pass of a network; the calling thread's alone on one thread.

        Args:
            model: Serialised ONNX with a dynamic batch dimension.
            batch_size: Items per forward pass.

        Raises:
            ExportError: the runtime can't run it.
        """

    def identity(self) -> str:
        """Return processor, threads and version.

        Raises:
            StudyError: the runtime isn't installed.
        """
        return f"{processor_name()}, {self.threads} thread(s), {self.version()}"

    def open(self, models: Sequence[bytes], batch_size: int) -> AbstractContextManager[Session]:
        """Load networks and warm them up.

        Raises:
            StudyError: the runtime isn't installed.
            ExportError: it can't run a network.
            MemoryError: memory ran out.
        """
        self.version()
        return self._open(models, batch_size)

    @contextlib.contextmanager
    def _open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        with turn_of_this_process():
            passes = [self.load(model, batch_size) for model in models]
            with raise_memory_error():
                yield LocalSession(passes, in_this_thread=self.threads == 1)


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
                    seconds[turn, column] = time_run(run, clock)
            share = (time.thread_time() - cpu) / (time.perf_counter() - wall)
        return Timings(seconds, 1.0 if self._stands else min(share, 1.0))


def _last_cores() -> Iterator[int]:
    """Return the last two cores in turns, endlessly."""
    return itertools.cycle(sorted(os.sched_getaffinity(0))[:-3:-1] if sys.platform == "linux" else [0])


@contextlib.contextmanager
def turn_of_this_process() -> Iterator[None]:
    """Wait until no other process of this user's measures, as far as they share a folder for temporary files.

    For devices that run on this machine's processor. A turn inside of another would wait for itself for ever, so a
    device that opens one of ours takes none.
    """
    lock = FileLock(Path(tempfile.gettempdir(), f"nas-latency-{os.getuid()}.lock"))
    try:
        _acquire(lock)
    except OSError as error:
        logger.warning("other processes may measure at the same time, because %s", one_line(error))
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: BaseFileLock) -> None:
    try:
        lock.acquire(timeout=_SILENT_S)
    except Timeout:
        logger.warning("waiting for another process that measures: it holds %s", lock.lock_file)
        lock.acquire()


@contextlib.contextmanager
def raise_memory_error() -> Iterator[None]:
    """Turn what ONNX Runtime says where memory runs out, which has no type of its own, into a MemoryError."""
    try:
        yield
    except Exception as error:  # onnxruntime's exceptions share no public base
        if not any(text in str(error) for text in _OUT_OF_MEMORY):
            raise
        raise MemoryError(one_line(error)) from error
