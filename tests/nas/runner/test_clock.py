from __future__ import annotations

from pathlib import Path

import pytest

from nas.runner.clock import Clock


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock of the machine says, the next one first."""
    said: list[float] = []
    monkeypatch.setattr("time.perf_counter", lambda: said.pop(0))
    return said


def test_seconds_of_epochs_are_kept_over_attempts(moments: list[float], tmp_path: Path) -> None:
    moments += [0.0, 2.0, 5.0]
    clock = Clock(tmp_path / "seconds.json")
    clock.tick(1, keep=True)
    clock.tick(2, keep=True)
    assert clock.seconds == [2.0, 3.0]
    moments += [100.0, 101.0]
    again = Clock(tmp_path / "seconds.json")
    again.tick(2, keep=True)  # the second epoch was lost, and done again
    assert again.seconds == [2.0, 1.0]
    moments += [0.0]
    assert Clock(tmp_path / "seconds.json").seconds == [2.0, 1.0]


def test_other_processes_write_nothing(moments: list[float], tmp_path: Path) -> None:
    moments += [0.0, 2.0]
    clock = Clock(tmp_path / "seconds.json")
    clock.tick(1, keep=False)
    assert clock.seconds == [2.0]
    assert not list(tmp_path.iterdir())
