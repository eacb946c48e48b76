"""Networks that take turns on a device: times that others disturbed least, and how far to trust their ratios.

What disturbs a measurement only adds time: other processes, neighbours on the same hardware, cold caches. So a
network's time in a block of turns is a low quantile, and a block is taken again when the reference network, which has
the first position, shows that the device was slower than it can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import final

import numpy as np

from nas.devices.device import Device, Session, time_turns
from nas.space import FloatArray

_SESSIONS = 2
"""A network that is loaded again lies elsewhere in memory: its time moves by 0.4 to 0.9 %, which no session can see."""
_BLOCKS_PER_SESSION = 2
"""The fewest that show how far blocks of one session differ. More of them would have to be shorter."""
_RUNS_PER_TURN = 4
"""Runs of a network before it is the next one's turn. Chosen: caches are warm after the first, and a spell of some
milliseconds still meets all networks alike."""
_FEWEST_ROUNDS = 2
"""For networks that take longer than the time asked for: with a single round there would be nothing to choose from."""
_QUANTILE = 0.05
"""Beside six busy processes on two cores, measurements of 40 ms vary by 0.6 to 1 % with it and by 1.3 to 4 % with the
median; the minimum is now and then an outlier, of 8 %."""
_DISTURBED = 1.1
"""Where others use the same hardware there are spells, of milliseconds to seconds, in which the reference takes 1.5 to
1.9 times its nominal time, and networks slow down by different factors. Outside of them it stays within 3 %."""
_MAX_ATTEMPTS = 3
"""Chosen: a machine that is always busy measures three times as long, and then takes what it has."""
_LEAST_SPREAD = 0.01
"""Relative. Processes whose blocks agree vary by 0.7 % (``benchmarks/latency_repeat.py``), and an interval is to hold
what another process finds, which varies as well."""
_SLOWNESS_SPREAD = 0.25
"""Where the reference took 1.85 times its time, the smallest network of the digits study took another 1.24 times as
much, its largest 1.05: 0.35 and 0.08 as a share of the logarithms."""


@final
@dataclass(frozen=True)
class TimedBlock:
    """What some networks' turns came to.

    Args:
        seconds: ``(networks,)``, a low quantile of each network's times.
        repeats: How many times of each network there were.
    """

    seconds: FloatArray
    repeats: int


def time_in_turns(
    device: Device, models: Sequence[bytes], batch_size: int, seconds: float, nominal_seconds: float
) -> list[TimedBlock]:
    """Let networks take turns.

    Args:
        device: Where they run.
        models: The reference network comes first.
        batch_size: Items per forward pass.
        seconds: For each network, in all blocks together; large networks take longer.
        nominal_seconds: What the reference takes where nothing disturbs it.

    Raises:
        DeviceUnavailableError: the device can't be reached.
        DeviceFaultError: it tells times without sense.
    """
    blocks: list[TimedBlock] = []
    rounds = 0
    for _ in range(_SESSIONS):
        with device.open(models, batch_size) as session:
            rounds = rounds or _rounds(session, len(models), seconds)
            blocks += [
                _pick_undisturbed(session, len(models), rounds, nominal_seconds)
                for _ in range(_BLOCKS_PER_SESSION)
            ]
    return blocks


def ratios(blocks: Sequence[TimedBlock], nominal_seconds: float) -> tuple[FloatArray, FloatArray]:
    """Return the networks' times as multiples of the reference's, and the standard deviations of these.

    A block's deviation counts in full, though the mean of several varies less: they lie within a second, and what
    slows the device in the next minute is in none of them.

    Returns:
        ``(networks - 1,)`` each.
    """
    # Ratios average as logarithms, in which twice and half are equally far from 1.
    logarithms = np.log([block.seconds for block in blocks])
    found = logarithms[:, 1:] - logarithms[:, :1]
    slowness = np.maximum(logarithms[:, 0] - np.log(nominal_seconds), 0).mean()
    deviations = np.sqrt(_LEAST_SPREAD**2 + found.var(axis=0, ddof=1) + (_SLOWNESS_SPREAD * slowness) ** 2)
    values = np.exp(found.mean(axis=0))
    return values, values * deviations


def _rounds(session: Session, count: int, seconds: float) -> int:
    """Return how many rounds of turns make a block."""
    times = _times(session, count, _FEWEST_ROUNDS)[0]
    round_seconds = _RUNS_PER_TURN * float(np.median(times, axis=1).sum())
    return max(_FEWEST_ROUNDS, round(seconds * count / (_SESSIONS * _BLOCKS_PER_SESSION) / round_seconds))


def _pick_undisturbed(session: Session, count: int, rounds: int, nominal_seconds: float) -> TimedBlock:
    """Return the block of the first attempt that wasn't disturbed, or of that which was disturbed least."""
    attempts: list[tuple[float, TimedBlock]] = []
    for _ in range(_MAX_ATTEMPTS):
        times, cpu_share = _times(session, count, rounds)
        seconds = np.quantile(times, _QUANTILE, axis=1)
        # A thread that had only a part of its core was disturbed too, even where the low quantile hides it.
        disturbance = float(seconds[0]) / nominal_seconds / max(cpu_share, 1e-3)
        attempts.append((disturbance, TimedBlock(seconds, times.shape[1])))
        if disturbance <= _DISTURBED:
            break
    return min(attempts, key=itemgetter(0))[1]


def _times(session: Session, count: int, rounds: int) -> tuple[FloatArray, float]:
    """Return ``(networks, rounds * runs)`` seconds, and the share that the thread had of its core."""
    found = time_turns(session, list(range(count)) * rounds, _RUNS_PER_TURN)
    return found.seconds.reshape(rounds, count, -1).swapaxes(0, 1).reshape(count, -1), found.cpu_share
