from __future__ import annotations

import itertools
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from nas.devices import local
from nas.devices.local import LocalSession, turn_of_this_process


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread can be kept on a core")
def test_calls_take_place_on_the_last_two_cores_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", itertools.count().__next__)
    seen: list[set[int]] = []
    allowed = os.sched_getaffinity(0)
    session = LocalSession([lambda: seen.append(os.sched_getaffinity(0))])
    seen.clear()
    for _ in range(3):
        session.time([0], 1)
    last = sorted(allowed)[-2:]
    assert seen == [{last[-1]}] * 2 + [{last[0]}] * 2 + [{last[-1]}] * 2
    assert os.sched_getaffinity(0) == allowed


@pytest.mark.parametrize("in_this_thread", [True, False])
def test_time_in_which_others_have_the_core_counts_for_a_network_of_several_threads_alone(
    monkeypatch: pytest.MonkeyPatch, in_this_thread: bool
) -> None:
    wall, own = itertools.count(0, 2), itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(wall)))
    monkeypatch.setattr(time, "thread_time", lambda: float(next(own)))
    timings = LocalSession([lambda: None], in_this_thread=in_this_thread).time([0, 0], 3)
    assert timings.seconds.tolist() == [[1.0 if in_this_thread else 2.0] * 3] * 2
    assert (timings.cpu_share == 1) == in_this_thread


def test_every_turn_has_the_times_of_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def make_run(seconds: float) -> Callable[[], object]:
        return lambda: now.__setitem__(0, now[0] + seconds)

    session = LocalSession([make_run(1.0), make_run(5.0)])
    assert session.time([0, 1, 1, 0], 2).seconds.tolist() == [[1.0] * 2, [5.0] * 2, [5.0] * 2, [1.0] * 2]


def test_a_clock_that_moves_in_large_steps_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "thread_time", lambda: 0.01)
    assert (LocalSession([lambda: None], in_this_thread=True).time([0], 2).seconds > 0).all()
    assert not local.steps_finely()


def test_a_long_wait_for_another_process_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(local, "_SILENT_S", 0.0)
    said: list[str] = []
    holder = FileLock(tmp_path / f"nas-latency-{os.getuid()}.lock")

    class Releasing(logging.Handler):
        """The other process goes on as soon as the line is there."""

        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            holder.release()

    with holder:
        local.logger.addHandler(handler := Releasing())
        try:
            with turn_of_this_process():
                pass
        finally:
            local.logger.removeHandler(handler)
    assert said == [f"waiting for another process that measures: it holds {holder.lock_file}"]


def test_a_turn_that_is_free_is_taken_without_a_word(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with turn_of_this_process():
        pass
    assert not caplog.records
