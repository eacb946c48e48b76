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
