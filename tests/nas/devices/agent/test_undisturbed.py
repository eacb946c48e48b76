from __future__ import annotations

import gc
import os
import sys

import pytest

from nas.devices.agent.undisturbed import on_core, time_run, without_collector


def test_a_run_during_which_the_clock_stood_still_is_repeated() -> None:
    readings = iter([1.0, 1.0, 1.0, 1.0, 1.0, 1.25])
    runs: list[None] = []
    assert time_run(lambda: runs.append(None), lambda: next(readings)) == 0.25
    assert len(runs) == 3


def test_a_clock_that_never_moves_tells_zero_in_the_end() -> None:
    assert time_run(lambda: None, lambda: 1.0) == 0


def test_garbage_is_collected_again_afterwards_where_it_was_before() -> None:
    assert gc.isenabled()
    with without_collector():
        assert not gc.isenabled()
        with without_collector():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread can be kept on a core")
def test_a_thread_has_its_cores_back_after_a_failure() -> None:
    allowed = os.sched_getaffinity(0)
    seen: list[set[int]] = []

    def fail() -> None:
        seen.append(os.sched_getaffinity(0))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), on_core(min(allowed)):
        fail()
    assert seen == [{min(allowed)}]
    assert os.sched_getaffinity(0) == allowed
