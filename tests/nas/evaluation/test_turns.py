from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from nas.devices import Timings
from nas.evaluation.turns import ratios, time_in_turns
from nas.space import FloatArray

NOMINAL = 1e-4
CANDIDATE = 3e-4
TIMES = np.array([NOMINAL, CANDIDATE])

Script = Callable[[int, int, int, int], FloatArray]
"""Seconds of a network's runs, from (session, call, turn, position); the first call of the first session only looks."""


@dataclass(frozen=True)
class Scripted:
    """A device whose times are made up."""

    script: Script
    cpu_share: Callable[[int], float] = lambda _: 1.0
    calls: list[int] = field(default_factory=list)
    sessions: list[int] = field(default_factory=list)

    def identity(self) -> str:
        return "scripted"

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Scripted]:
        self.sessions.append(len(models))
        yield self

    def time(self, order: Sequence[int], runs: int) -> Timings:
        call = len(self.calls)
        self.calls.append(len(order))
        rows = [
            np.broadcast_to(self.script(len(self.sessions), call, turn, position), (runs,))
            for turn, position in enumerate(order)
        ]
        return Timings(np.array(rows), self.cpu_share(call))


def measured(device: Scripted, seconds: float = 0.04) -> tuple[float, float]:
    """Return ratio and spread of a candidate."""
    blocks = time_in_turns(device, [b"reference", b"candidate"], 1, seconds, NOMINAL)
    values, spreads = ratios(blocks, NOMINAL)
    return float(values[0]), float(spreads[0])


def steady(session: int, call: int, turn: int, position: int) -> FloatArray:
    return TIMES[[position]]


def test_a_steady_device_gives_the_exact_ratio_with_the_least_spread() -> None:
    device = Scripted(steady)
    ratio, spread = measured(device)
    assert ratio == pytest.approx(3)
    assert spread == pytest.approx(3 * 0.01)
    assert device.sessions == [2, 2]
    assert sum(device.calls) * 4 * TIMES.mean() == pytest.approx(2 * 0.04, rel=0.2)


def test_drift_cancels() -> None:
    def drifting(session: int, call: int, turn: int, position: int) -> FloatArray:
        return TIMES[[position]] * (1 + 0.015 * call + 0.0003 * turn)

    ratio, spread = measured(Scripted(drifting))
    assert ratio == pytest.approx(3, rel=0.002)
    assert spread < 3 * 0.02


def test_what_disturbs_nine_of_ten_runs_does_not_count() -> None:
    rng = np.random.default_rng(0)

    def hit(session: int, call: int, turn: int, position: int) -> FloatArray:
        return TIMES[position] * np.where(rng.random(4) < 0.9, 1 + rng.exponential(2, 4), 1)

    ratio, spread = measured(Scripted(hit), seconds=0.4)
    assert ratio == pytest.approx(3, rel=1e-6)
    assert spread == pytest.approx(3 * 0.01)


@pytest.mark.parametrize("bias", [0.97, 1.03])
def test_the_bias_of_a_session_shows_in_the_spread(bias: float) -> None:
    def biased(session: int, call: int, turn: int, position: int) -> FloatArray:
        return TIMES[[position]] * (bias if session == 2 and position == 1 else 1)

    ratio, spread = measured(Scripted(biased))
    assert ratio == pytest.approx(3 * bias**0.5)
    assert 0.015 < spread / ratio < 0.025


def slow_in(calls: set[int], reference: float, candidate: float) -> Script:
    """Return the script of a device on which networks are slower in some calls, by factors of their own."""
    return lambda session, call, turn, position: (
        TIMES[[position]] * ((reference, candidate)[position] if call in calls else 1)
    )


def test_a_disturbed_block_is_repeated() -> None:
    device = Scripted(slow_in({1, 4, 5}, 1.9, 2.3))
    assert measured(device) == pytest.approx((3, 3 * 0.01))
    assert len(device.calls) == 1 + 4 + 3


def test_a_block_without_the_core_is_repeated() -> None:
    device = Scripted(slow_in({2}, 1, 2), cpu_share=lambda call: 0.5 if call == 2 else 1)
    assert measured(device) == pytest.approx((3, 3 * 0.01))
    assert len(device.calls) == 1 + 4 + 1


def test_a_device_that_stays_slow_is_measured_all_the_same_and_less_is_claimed() -> None:
    device = Scripted(slow_in(set(range(99)), 1.9, 2.3))
    ratio, spread = measured(device)
    assert len(device.calls) == 1 + 4 * 3
    assert ratio == pytest.approx(3 * 2.3 / 1.9)
    assert abs(ratio - 3) < 1.96 * spread


def test_the_attempt_that_was_disturbed_least_is_kept() -> None:
    def slow(session: int, call: int, turn: int, position: int) -> FloatArray:
        return TIMES[[position]] * ((1.5, 1.2, 1.4)[call % 3] if call else 1)

    blocks = time_in_turns(Scripted(slow), [b"reference", b"candidate"], 1, 0.04, NOMINAL)
    assert [block.seconds[0] for block in blocks] == pytest.approx([1.2 * NOMINAL] * 4)


def test_intervals_hold_what_another_process_finds() -> None:
    rng = np.random.default_rng(1)

    def one_process() -> tuple[float, float]:
        process = 1 + 0.005 * rng.standard_normal(2)
        layouts = 1 + 0.007 * rng.standard_normal((3, 2))

        def noisy(session: int, call: int, turn: int, position: int) -> FloatArray:
            noise = 1 + rng.exponential(0.05, 4) * (rng.random(4) < 0.5)
            return TIMES[position] * process[position] * layouts[session, position] * noise

        return measured(Scripted(noisy), seconds=0.02)

    found = np.array([one_process() for _ in range(100)])
    values, spreads = found.T
    assert values.std() / values.mean() < 0.015
    pairs = np.abs(values[:, None] - values) <= 1.96 * spreads[:, None]
    assert pairs.mean() >= 0.9
    assert spreads.mean() < 2 * values.std()
