"""The final front by values alone against the one that knows their noise, on simulated devices whose truth is known.

    python -m benchmarks.noisy_front --repeats 200

Networks have an exact size, an exact quality and a latency that is measured with noise; a spread is estimated from five
blocks, as a latency's is. ``lost`` is the share of true members that aren't on the front that is found, ``kept`` the
share of truly dominated files that are, ``unmarked`` those of them that aren't said to be tied with another. A
measurement is one of one file; the plain front gets as many in its third row as the rounds for ties took.

The last lines are of the search: the hypervolume that six winners have in truth, as a share of what six chosen by the
truth have, where they are chosen by one short measurement of each evaluated architecture, and where those of the front
that tie are measured once more, at length, before.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas import pareto
from nas.objective import Measurement, combine_measurements
from nas.runner.placing import Places, place_variants
from nas.runner.settling import Row, settle_ties
from nas.runner.steps import CachedStep
from nas.search.record.reference_box import ReferenceBox
from nas.space import FloatArray

_BLOCKS = 5
_LATENCY = 2
_WINNERS = 6
_NAME = "latency_ms"
_Found = tuple[Places, int]


@dataclass
class Device:
    """Measures latencies with noise that is known.

    Args:
        truth: ``(n, 3)`` costs: error, size, latency in ms.
        noise: Relative standard deviation of a measurement.
        rng: Draws it.
    """

    truth: FloatArray
    noise: float
    rng: np.random.Generator
    count: int = 0

    def measure(self, _name: str, rows: Sequence[int]) -> list[Measurement]:
        """Measure files; the spread is estimated from as few blocks as in practice."""
        self.count += len(rows)
        found = []
        for true in self.truth[list(rows), _LATENCY]:
            estimated = self.noise * np.sqrt(self.rng.chisquare(_BLOCKS - 1) / (_BLOCKS - 1))
            value = true * (1 + self.noise * self.rng.standard_normal())
            found.append(Measurement(value, value * estimated, "ms", "simulated", 100))
        return found

    def measure_all(self) -> list[Row]:
        """Measure every file once."""
        return [{_NAME: m} for m in self.measure(_NAME, range(len(self.truth)))]

    def places(self, rows: Sequence[Row], *, knows_noise: bool = True) -> Places:
        """Return where files stand by what was measured of them."""
        costs, spreads = self.truth.copy(), np.zeros_like(self.truth)
        costs[:, _LATENCY] = [row[_NAME].value for row in rows]
        if knows_noise:
            spreads[:, _LATENCY] = [row[_NAME].spread for row in rows]
        n = len(costs)
        return place_variants(costs, spreads, np.zeros(n), np.arange(n), n)


def networks(count: int, rng: np.random.Generator) -> FloatArray:
    """Return ``(count, 3)`` costs of networks near a front: larger ones err less and take longer, not all as much."""
    size = np.exp(rng.uniform(0, 3, count))
    error = 0.2 * size**-0.3 * np.exp(rng.normal(0, 0.08, count))
    latency = size**0.5 * np.exp(rng.normal(0, 0.08, count))
    items = 1000  # of the test split: errors come in steps
    return np.column_stack([np.round(error * items) / items, size, latency])


def plain(device: Device) -> _Found:
    """The front of values, each measured once."""
    return device.places(device.measure_all(), knows_noise=False), device.count


def plain_again(device: Device, budget: int) -> _Found:
    """The front of values, of all files as many times as a budget of measurements allows."""
    rounds = max(1, round(budget / len(device.truth)))
    found = [device.measure_all() for _ in range(rounds)]
    rows = [{_NAME: combine_measurements([row[_NAME] for row in of])} for of in zip(*found, strict=True)]
    return device.places(rows, knows_noise=False), device.count


def aware(device: Device, rounds: int) -> _Found:
    """The front that knows the noise, ties measured again so many times."""

    def ties(rows: Sequence[Row]) -> dict[str, list[int]]:
        tied = np.flatnonzero(device.places(rows).tied[:, :, _LATENCY].any(axis=1)).tolist()
        return {_NAME: tied} if tied else {}

    with tempfile.TemporaryDirectory() as folder:
        step = CachedStep(Path(folder, "again.json"), 0)
        rows = settle_ties(device.measure_all(), ties, device.measure, step, rounds)
    return device.places(rows), device.count


def compare(count: int, noise: float, rounds: int, repeats: int) -> None:
    """Print a line for each way to take the front."""
    ways: dict[str, Callable[[Device, int], _Found]] = {
        "plain": lambda device, _spent: plain(device),
        f"noise-aware, {rounds} rounds": lambda device, _spent: aware(device, rounds),
        "plain, as many measurements": plain_again,
        "noise-aware, no rounds": lambda device, _spent: aware(device, 0),
    }
    sums = {way: np.zeros(5) for way in ways}
    for seed in range(repeats):
        truth = networks(count, np.random.default_rng(seed))
        true = pareto.non_dominated(truth)
        spent = 0
        for number, (way, find) in enumerate(ways.items()):
            places, taken = find(Device(truth, noise, np.random.default_rng([seed, number])), spent)
            spent = max(spent, taken)
            front, tied = places.on_front, places.tied.any(axis=(1, 2))
            wrong = front & ~true
            sums[way] += [(true & ~front).sum(), wrong.sum(), (wrong & ~tied).sum(), tied.sum(), taken]
        sums.setdefault("true", np.zeros(5))[0] += true.sum()
    members = sums.pop("true")[0]
    others = repeats * count - members
    print(f"{count} files, {100 * noise:g} % noise; {members / repeats:.1f} true members")
    for way, (lost, kept, unmarked, tied, taken) in sums.items():
        print(
            f"  {way:28} | lost {lost / members:6.2%} | kept {kept / others:6.2%} | unmarked {unmarked / others:6.2%} "
            f"| tied {tied / repeats:4.1f} | measurements {taken / repeats:5.1f}",
            flush=True,
        )


def choose(costs: FloatArray, box: ReferenceBox) -> list[int]:
    """Return the rows of up to six winners, as a run chooses them."""
    front = np.flatnonzero(pareto.non_dominated(costs))
    scaled = box.scale(costs[front])
    rows = pareto.spread_subset(scaled, _WINNERS, box.reference, int(np.argmin(scaled[:, 0])))
    return [int(front[row]) for row in rows]


def compare_choices(evaluations: int, short: float, long: float, repeats: int) -> None:
    """Print what measuring again before winners are chosen would bring."""
    shares, taken = np.zeros(2), 0
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        truth = networks(evaluations, rng)
        device, again = Device(truth, short, rng), Device(truth, long, rng)
        box = ReferenceBox.around(truth)
        rows = device.measure_all()
        tied = np.flatnonzero(device.places(rows).tied.any(axis=(1, 2)))
        costs = [truth.copy(), truth.copy()]
        for table in costs:
            table[:, _LATENCY] = [row[_NAME].value for row in rows]
        costs[1][tied, _LATENCY] = [m.value for m in again.measure(_NAME, tied.tolist())]
        taken += len(tied)
        best = box.hypervolume(truth[choose(truth, box)])
        shares += [box.hypervolume(truth[choose(table, box)]) / best for table in costs]
    print(
        f"{_WINNERS} winners of {evaluations}, {100 * short:g} % noise: hypervolume {shares[0] / repeats:.4f}; ties "
        f"measured again with {100 * long:g} %: {shares[1] / repeats:.4f}, {taken / repeats:.0f} measurements",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    for noise in (0.005, 0.015, 0.04):
        compare(arguments.files, noise, arguments.rounds, arguments.repeats)
    for noise in (0.036, 0.1):
        compare_choices(150, noise, 0.015, arguments.repeats)


if __name__ == "__main__":
    main()
