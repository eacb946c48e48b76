"""Latency of the exported network on this machine's CPU."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import onnxruntime as ort
import torch
from filelock import FileLock
from torch import nn

from nas.checks import check_integers, check_numbers
from nas.errors import StudyError, one_line
from nas.evaluation.candidate import memory_told, open_session
from nas.evaluation.machine import processor_name
from nas.evaluation.onnx_export import export_onnx
from nas.objective import Measurement, Objective
from nas.protocols import Bench, Candidate

logger = logging.getLogger(__name__)

_WARM_UP_RUNS = 10
_RUNS_PER_TURN = 4
_BLOCKS = 5
_NOISY_CPU_SHARE = 0.9
_MAX_ATTEMPTS = 3


@final
@dataclass(frozen=True)
class LatencyMs:
    """Milliseconds per forward pass in ONNX Runtime, CPU, float as exported.

    The host's speed drifts, so a fixed reference network takes turns with the candidates: the value is
    the ratio of the medians times the reference's nominal latency, which is measured once per study.
    The spread is the standard deviation of that value over five blocks of turns. The first run of
    every turn is thrown away: it pays for the caches that the other network filled. A measurement
    during which the process did not have its core for itself is repeated, up to three times.

    Args:
        threads: Of ONNX Runtime.
        batch_size: Items per forward pass.
        short_seconds: Time per candidate in the search.
        long_seconds: Time per candidate for winners, which all take turns with each other.

    Raises:
        StudyError: a setting is out of range.
    """

    threads: int = 1
    batch_size: int = 1
    short_seconds: float = 0.04
    long_seconds: float = 1.0
    objective: Objective = Objective("latency_ms", "ms", "minimize")

    def __post_init__(self) -> None:
        check_integers(self, "threads", "batch_size")
        check_numbers(self, "short_seconds", "long_seconds")
        if self.threads < 1 or self.batch_size < 1:
            raise StudyError(
                f"LatencyMs has threads={self.threads} and batch_size={self.batch_size}: both must be 1 or more."
            )
        if not (0 < self.short_seconds < math.inf and 0 < self.long_seconds < math.inf):
            raise StudyError(
                f"LatencyMs has short_seconds={self.short_seconds} and long_seconds={self.long_seconds}: both must "
                "be finite and more than 0."
            )

    def calibrate(self) -> dict[str, float]:
        """Measure the reference network alone: its nominal latency in ms."""
        timings = _take_turns([self._reference], 1.0)
        return {"reference_ms": float(np.median(timings[0])) * 1e3}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        """Time the candidates in turns with the reference network."""
        runners = [_Runner(c.onnx_model, self.batch_size, self.threads) for c in candidates]
        seconds = self.long_seconds if bench.thorough else self.short_seconds
        reference, *timed = _take_turns([self._reference, *runners], seconds * (len(runners) + 1))
        nominal = bench.calibration["reference_ms"]
        setting = f"{self.threads} thread(s), batch {self.batch_size}, ONNX Runtime {ort.__version__}"
        return [
            Measurement(
                nominal * float(np.median(times) / np.median(reference)),
                nominal * _spread(times, reference),
                self.objective.unit,
                f"{processor_name()}, {setting}",
                times.size,
            )
            for times in timed
        ]

    @cached_property
    def _reference(self) -> _Runner:
        module = _reference_network()
        return _Runner(export_onnx(module, (3, 32, 32)), 1, self.threads)


def _spread(times: np.ndarray, reference: np.ndarray) -> float:
    """Standard deviation over blocks of the ratio of medians; ``times`` is ``(turns, runs)``."""
    blocks = zip(np.array_split(times, _BLOCKS), np.array_split(reference, _BLOCKS), strict=True)
    return statistics.stdev(float(np.median(a) / np.median(b)) for a, b in blocks)


@final
class _Runner:
    """One network in a session of its own; token ids are 1, the time doesn't depend on them."""

    def __init__(self, model: bytes, batch_size: int, threads: int) -> None:
        self._session = open_session(model, threads=threads)
        rng = np.random.default_rng(0)
        self._feed = {}
        for entry in self._session.get_inputs():
            shape, is_ids = (batch_size, *entry.shape[1:]), entry.type == "tensor(int64)"
            values = (
                np.ones(shape, dtype=np.int64) if is_ids else rng.standard_normal(shape, dtype=np.float32)
            )
            self._feed[entry.name] = values
        with memory_told():
            for _ in range(_WARM_UP_RUNS):
                self._session.run(None, self._feed)

    def turn(self) -> list[float]:
        """Return the seconds of a few runs in a row, without the first."""
        self._session.run(None, self._feed)
        seconds = []
        for _ in range(_RUNS_PER_TURN):
            begin = time.perf_counter()
            self._session.run(None, self._feed)
            seconds.append(time.perf_counter() - begin)
        return seconds


def _take_turns(runners: Sequence[_Runner], seconds: float) -> list[np.ndarray]:
    """Return ``(turns, runs)`` seconds for each runner, from the attempt that was disturbed least."""
    best_share, best = -1.0, [np.zeros((0, 0))]
    for _ in range(_MAX_ATTEMPTS):
        with _undisturbed(), memory_told():
            wall, cpu = time.perf_counter(), time.thread_time()
            turns: list[list[list[float]]] = []
            while len(turns) < 2 * _BLOCKS or time.perf_counter() - wall < seconds:
                turns.append([runner.turn() for runner in runners])
            share = (time.thread_time() - cpu) / (time.perf_counter() - wall)
        if share > best_share:
            best_share = share
            best = [np.array([turn[position] for turn in turns]) for position in range(len(runners))]
        if share >= _NOISY_CPU_SHARE:
            break
    return best


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep this thread on one core, and the garbage collector quiet."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with _core_to_itself() if sys.platform == "linux" else contextlib.nullcontext():
            yield
    finally:
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _core_to_itself() -> Iterator[None]:
    """Keep this thread on the last core, which no other measurement of this user's uses meanwhile.

    Always the same core, because those of a machine may differ.
    """
    with _turn_of_this_process():
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(allowed)})
        try:
            yield
        finally:
            os.sched_setaffinity(0, allowed)


@contextlib.contextmanager
def _turn_of_this_process() -> Iterator[None]:
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


def _reference_network() -> nn.Module:
    """Return a small fixed network with the usual mix of convolutions; its weights don't matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU()]
        for _ in range(3):
            layers += [nn.Conv2d(16, 48, 1), nn.ReLU()]
            layers += [nn.Conv2d(48, 48, 3, padding=1, groups=48), nn.ReLU(), nn.Conv2d(48, 16, 1)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)).eval()
