from __future__ import annotations

import itertools
import time
from types import SimpleNamespace
from typing import Any

import pytest

from nas.devices.agent.timing import take_times


@pytest.mark.parametrize("in_this_thread", [True, False])
def test_time_in_which_others_have_the_core_counts_for_a_network_of_several_threads_alone(
    monkeypatch: pytest.MonkeyPatch, in_this_thread: bool
) -> None:
    wall, own = itertools.count(0, 2), itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(wall)))
    monkeypatch.setattr(time, "thread_time", lambda: float(next(own)))
    runs: Any = [SimpleNamespace(run=lambda: None)]
    found = take_times(runs, [0, 0], 3, in_this_thread=in_this_thread)
    assert found["seconds"] == [[1.0 if in_this_thread else 2.0] * 3] * 2
    assert (found["cpu_share"] == 1) == in_this_thread


def test_every_turn_has_the_times_of_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def make_network(seconds: float) -> Any:
        return SimpleNamespace(run=lambda: now.__setitem__(0, now[0] + seconds))

    found = take_times([make_network(1.0), make_network(5.0)], [0, 1, 1, 0], 2, in_this_thread=False)
    assert found["seconds"] == [[1.0] * 2, [5.0] * 2, [5.0] * 2, [1.0] * 2]
