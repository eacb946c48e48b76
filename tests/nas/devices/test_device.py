from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from nas.devices import Timings
from nas.devices.device import time_turns
from nas.errors import DeviceFaultError


@dataclass(frozen=True)
class Told:
    """A session that says what it is told to."""

    answer: Any

    def time(self, order: Sequence[int], runs: int) -> Timings:
        return self.answer  # type: ignore[no-any-return]


def test_times_in_lists_are_as_good_as_in_an_array() -> None:
    times = Timings([[0.5, 1], [2, 3]])  # type: ignore[arg-type]
    assert time_turns(Told(times), [0, 1], 2).seconds.tolist() == [[0.5, 1.0], [2.0, 3.0]]
    assert times.seconds.dtype == np.float64


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ([[1.0, 2.0], [3.0]], r"told the times \[\[1.0, 2.0\], \[3.0\]\]: .* rows of equal length"),
        ([["fast"]], "numbers are expected"),
        ([1.0, 2.0], r"seconds of shape \(2,\)"),
        ([[1.0, float("nan")]], "finite ones above 0"),
        ([[1.0, 0.0]], "finite ones above 0"),
    ],
)
def test_times_that_can_not_be_are_refused_when_they_are_made(seconds: Any, said: str) -> None:
    with pytest.raises(DeviceFaultError, match=said):
        Timings(seconds)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([[1.0, 1.0]], "returned a value of type list: nas.devices.Timings is expected"),
        (Timings(np.ones((1, 3))), r"asked for 2 turns of 3 runs .* shape \(1, 3\): \(2, 3\) is expected"),
        (Timings(np.ones((3, 2))), r"shape \(3, 2\): \(2, 3\) is expected"),
    ],
)
def test_a_session_that_answers_something_else_is_told_what_was_asked(answer: Any, said: str) -> None:
    with pytest.raises(DeviceFaultError, match=said):
        time_turns(Told(answer), [0, 1], 3)
