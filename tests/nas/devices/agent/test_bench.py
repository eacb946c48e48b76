from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.devices.agent.bench import TimingBench
from nas.devices.agent.models import ModelFolder
from nas.devices.agent.refusal import Refusal
from nas.devices.agent.requests import MeasureRequest

DIGEST = "0" * 64
LIMIT_S = 600
"""What answers at once is not held up for so long on any machine."""
REQUEST = MeasureRequest([DIGEST], [0], 1, 1, 1, LIMIT_S, 0)
HELLO = {"onnxruntime": "1.20.0", "python": "3.9.2"}
TIMES = {"seconds": [[1.0]], "cpu_share": 1.0}
LINES: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _closed_lines() -> Iterator[None]:
    yield
    while LINES:
        LINES.pop().close()


class Nursery:
    """Its children answer with these lines, in turn; None ends one with the exit code."""

    def __init__(self, *answers: dict[str, Any] | None, code: int = 0) -> None:
        self._answers, self._code = [HELLO, *answers], code
        self.children = 0

    def begin(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        LINES.append(ours)
        self.children += 1
        threading.Thread(target=self._answer, args=(theirs, self.children)).start()
        return ours

    def _answer(self, line: socket.socket, number: int) -> None:
        with line, line.makefile("rwb") as stream:
            for answer in self._answers if number == 1 else [HELLO, TIMES, TIMES]:
                if answer is None:
                    return
                stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()
                if not stream.readline():
                    return

    def end(self) -> int:
        return self._code


class Sensors:
    """Tells in turn whether the device is slowed down, and how often it was."""

    def __init__(self, *throttled: bool, counts: tuple[int, ...] = ()) -> None:
        self._throttled, self._counts = list(throttled), list(counts)

    def state(self) -> dict[str, Any]:
        now = self._throttled.pop(0) if self._throttled else False
        return {"temperature_c": 81.4, "clock_mhz": None, "throttled": now}

    def throttle_count(self) -> int:
        return self._counts.pop(0) if self._counts else 0


def bench(
    folder: Path,
    nursery: Nursery,
    sensors: Sensors,
    said: list[str] | None = None,
    max_seconds: float = LIMIT_S,
) -> TimingBench:
    models = ModelFolder(folder / "models", 1000)
    models.path(DIGEST).write_bytes(b"model")
    say = [].append if said is None else said.append
    found = TimingBench(nursery, models, sensors, max_seconds, say)  # type: ignore[arg-type]
    found.begin()
    return found


def test_a_measurement_names_the_process_that_made_it(tmp_path: Path) -> None:
    one = bench(tmp_path, Nursery(TIMES), Sensors())
    assert one.runtime == HELLO
    found = one.measure(REQUEST)
    assert found["seconds"] == [[1.0]]
    assert found["instance"] == one.instance
    assert not one.is_busy


@pytest.mark.parametrize(
    "sensors",
    [Sensors(True), Sensors(False, True), Sensors(counts=(3, 4))],
    ids=["before", "after", "in between"],
)
def test_a_device_that_slows_itself_down_does_not_measure(tmp_path: Path, sensors: Sensors) -> None:
    one = bench(tmp_path, Nursery(TIMES), sensors)
    with pytest.raises(Refusal, match="slows itself down at 81 °C") as caught:
        one.measure(REQUEST)
    assert (caught.value.status, caught.value.content["error"]) == (503, "throttled")
    assert not one.is_busy


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (-11, "crashed", r"crashes \(SIGSEGV\)"),
        (-6, "crashed", r"crashes \(SIGABRT\)"),
        (-9, "memory", "was killed, which happens where memory runs out"),
        (1, "memory", "was killed"),
    ],
)
def test_a_process_that_ends_is_begun_anew(tmp_path: Path, code: int, error: str, message: str) -> None:
    said: list[str] = []
    one = bench(tmp_path, Nursery(None, code=code), Sensors(), said)
    first = one.instance
    with pytest.raises(Refusal, match=message) as caught:
        one.measure(REQUEST)
    assert caught.value.content["error"] == error
    assert len(said) == 1
    assert one.measure(REQUEST)["instance"] != first


class SilentNursery(Nursery):
    """Its first child answers no request."""

    def _answer(self, line: socket.socket, number: int) -> None:
        if number > 1:
            return super()._answer(line, number)
        with line, line.makefile("rwb") as stream:
            stream.write(json.dumps(HELLO).encode() + b"\n")
            stream.flush()
            stream.read()


@pytest.mark.parametrize(("asked", "allowed"), [(0.01, LIMIT_S), (LIMIT_S, 0.01)])
def test_what_takes_longer_than_asked_for_or_allowed_is_ended(
    tmp_path: Path, asked: float, allowed: float
) -> None:
    one = bench(tmp_path, SilentNursery(), Sensors(), max_seconds=allowed)
    with pytest.raises(Refusal, match=r"takes more than 0\.01 s") as caught:
        one.measure(replace(REQUEST, seconds=asked))
    assert (caught.value.status, caught.value.content["error"]) == (422, "slow")
    assert not one.is_busy


def test_models_that_are_not_here_are_named(tmp_path: Path) -> None:
    one = bench(tmp_path, Nursery(), Sensors())
    with pytest.raises(Refusal, match="to be sent first") as caught:
        one.measure(replace(REQUEST, models=["1" * 64, DIGEST]))
    assert caught.value.content["models"] == ["1" * 64]
