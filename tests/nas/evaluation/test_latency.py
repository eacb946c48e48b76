from __future__ import annotations

import concurrent.futures
import gc
import itertools
import math
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from boards import Board
from torch import nn

from nas.devices import OnnxRuntime, Timings
from nas.devices.local import LocalSession
from nas.errors import StudyChangedError, StudyError
from nas.evaluation import LatencyMs, SubnetCandidate
from nas.objectives import Bench
from nas.splits import Split
from nas.testing import check_measured_objective

SHAPE = (1, 16, 16)
BRIEF = LatencyMs(short_seconds=0.02, long_seconds=0.05)


def candidate(width: int) -> SubnetCandidate:
    layers = [
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.Flatten(),
    ]
    return SubnetCandidate(nn.Sequential(*layers), SHAPE)


@pytest.fixture(scope="module")
def bench() -> Bench:
    split = Split(torch.zeros(2, *SHAPE), torch.zeros(2, dtype=torch.int64))
    return Bench(split, thorough=False, calibration=BRIEF.calibrate())


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 0},
        {"batch_size": -1},
        {"short_seconds": -1},
        {"short_seconds": math.nan},
        {"long_seconds": 0},
        {"long_seconds": math.inf},
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=f"{next(iter(settings))}={next(iter(settings.values()))}"):
        LatencyMs(**settings)


@pytest.mark.parametrize("threads", [0, -2, 1.5])
def test_threads_without_sense_are_refused(threads: Any) -> None:
    with pytest.raises(StudyError, match=f"threads={threads}"):
        OnnxRuntime(threads=threads)


def test_a_device_is_expected() -> None:
    with pytest.raises(StudyError, match="device='cpu': an instance such as OnnxRuntime"):
        LatencyMs(device="cpu")  # type: ignore[arg-type]


def test_another_device_is_refused(bench: Bench) -> None:
    calibration = {**bench.calibration, "device": "a phone"}
    with pytest.raises(
        StudyChangedError, match="'latency_ms' was measured on a phone, and the device is now"
    ):
        BRIEF.measure([candidate(2)], Bench(bench.split, False, calibration))


def test_the_contract_is_kept() -> None:
    check_measured_objective(BRIEF)


def test_latency_is_positive_with_a_spread_and_its_circumstances(bench: Bench) -> None:
    measured = BRIEF.measure([candidate(4)], bench)[0].check_unit("latency_ms")
    assert measured.value > 0
    assert measured.spread >= 0
    assert measured.unit == "ms"
    assert measured.repeats >= 32  # two sessions of two blocks, each of two rounds of four runs or more
    assert "1 thread(s), ONNX Runtime" in measured.device
    assert measured.device.endswith("batch 1")


def test_latencies_are_to_each_other_as_the_times_on_the_device(bench: Bench) -> None:
    on_board = LatencyMs(Board())
    small, large = candidate(2), candidate(64)
    found = on_board.measure([small, large], Bench(bench.split, False, on_board.calibrate()))
    times = [len(network.onnx_model) for network in (small, large)]
    assert found[1].value / found[0].value == pytest.approx(times[1] / times[0])


def test_the_value_is_relative_to_the_stored_reference(bench: Bench) -> None:
    slow_day = Bench(bench.split, thorough=False, calibration={**bench.calibration, "reference_ms": 1000.0})
    fast_day = Bench(bench.split, thorough=False, calibration={**bench.calibration, "reference_ms": 0.001})
    network = [candidate(8)]
    assert BRIEF.measure(network, slow_day)[0].value > 100 * BRIEF.measure(network, fast_day)[0].value


def test_a_batch_has_the_time_of_its_items_together(bench: Bench) -> None:
    one, many = (LatencyMs(Board(), batch_size=size) for size in (1, 64))
    network = candidate(8)
    values = [
        objective.measure([network], Bench(bench.split, False, objective.calibrate()))[0].value
        for objective in (one, many)
    ]
    assert values[1] == pytest.approx(64 * values[0])


def test_the_process_is_left_as_it_was(bench: Bench) -> None:
    before = os.sched_getaffinity(0) if sys.platform == "linux" else None
    BRIEF.measure([candidate(2)], bench)
    assert gc.isenabled()
    assert before is None or os.sched_getaffinity(0) == before


def test_equal_settings_are_one_objective() -> None:
    two = LatencyMs(OnnxRuntime(threads=2))
    assert two == LatencyMs(OnnxRuntime(threads=2))
    assert repr(two) != repr(LatencyMs())


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread can be kept on a core")
def test_no_two_measurements_share_the_core(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[LocalSession] = []
    time = LocalSession.time

    def noted(session: LocalSession, order: Sequence[int], runs: int) -> Timings:
        called.append(session)
        return time(session, order, runs)

    def measure() -> None:
        together.wait()
        BRIEF.measure([candidate(2)], bench)

    monkeypatch.setattr(LocalSession, "time", noted)
    together = threading.Barrier(2)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for measured in [pool.submit(measure) for _ in range(2)]:
            measured.result()
    runs = [session for session, _ in itertools.groupby(called, key=id)]
    assert len(runs) == len(set(runs)) == 4, "two measurements of two sessions, whose calls follow each other"


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread can be kept on a core")
def test_without_a_lock_it_is_measured_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"nas-latency-{os.getuid()}.lock").mkdir()
    assert BRIEF.measure([candidate(2)], bench)[0].value > 0
    assert "other processes may measure at the same time" in caplog.text
