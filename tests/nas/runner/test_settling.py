"""Ties on the final front are measured again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from nas.errors import DamagedFileError
from nas.objective import Measurement
from nas.runner.settling import Row, settle_ties
from nas.runner.steps import CachedStep

LATENCY = "latency_ms"


@dataclass
class Noisy:
    """A device of which the noise is known; two files tie while they differ by less than two deviations."""

    truth: tuple[float, ...]
    noise: float = 0.02
    asked: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def measure(self, _name: str, files: Sequence[int]) -> list[Measurement]:
        self.asked.append(list(files))
        values = [self.truth[file] * self.rng.normal(1.0, self.noise) for file in files]
        return [Measurement(v, v * self.noise, "ms", "a device", 100) for v in values]

    def first(self) -> list[dict[str, Measurement]]:
        return [{LATENCY: m} for m in self.measure(LATENCY, range(len(self.truth)))]


def tied(rows: Sequence[Row]) -> Mapping[str, Sequence[int]]:
    found = [row[LATENCY] for row in rows]
    files = [
        i
        for i, a in enumerate(found)
        if any(
            j != i and abs(a.value - b.value) < 2 * np.hypot(a.spread, b.spread) for j, b in enumerate(found)
        )
    ]
    return {LATENCY: files} if files else {}


def test_what_differs_is_not_measured_again(tmp_path: Path) -> None:
    device = Noisy((1.0, 1.5, 2.0))
    first = device.first()
    assert settle_ties(first, tied, device.measure, CachedStep(tmp_path / "again.json", 0), 4) == first
    assert len(device.asked) == 1
    assert not list(tmp_path.iterdir())


def test_ties_are_measured_again_together_until_they_are_settled(tmp_path: Path) -> None:
    device = Noisy((1.0, 1.03, 2.0))
    found = settle_ties(device.first(), tied, device.measure, CachedStep(tmp_path / "again.json", 0), 50)
    again = device.asked[1:]
    assert 1 <= len(again) < 50
    assert all(files == [0, 1] for files in again)
    assert not tied(found)
    assert found[0][LATENCY].value < found[1][LATENCY].value
    assert found[0][LATENCY].repeats == 100 * (1 + len(again))


@pytest.mark.parametrize("rounds", [0, 3])
def test_what_cannot_be_settled_ends_with_its_rounds(tmp_path: Path, rounds: int) -> None:
    device = Noisy((1.0, 1.0))
    settle_ties(
        device.first(),
        lambda _rows: {LATENCY: [0, 1]},
        device.measure,
        CachedStep(tmp_path / "a.json", 0),
        rounds,
    )
    assert len(device.asked) == 1 + rounds


def test_rounds_that_are_kept_are_not_measured_twice(tmp_path: Path) -> None:
    def never_settled(_rows: Sequence[Row]) -> Mapping[str, Sequence[int]]:
        return {LATENCY: [0, 1]}

    device, step = Noisy((1.0, 1.0)), CachedStep(tmp_path / "again.json", 0)
    first = device.first()
    whole = settle_ties(first, never_settled, device.measure, step, 3)
    assert settle_ties(first, never_settled, device.measure, step, 3) == whole
    assert len(device.asked) == 4
    two = settle_ties(first, never_settled, device.measure, step, 2)
    assert two[0][LATENCY].repeats == 300
    settle_ties(first, never_settled, device.measure, step, 4)
    assert len(device.asked) == 5


def test_a_kill_between_two_rounds_loses_nothing(tmp_path: Path) -> None:
    """The device dies in the third round; the next process goes on with what the first two gave."""
    step = CachedStep(tmp_path / "again.json", 0)
    device, other = Noisy((1.0, 1.0)), Noisy((1.0, 1.0))
    first = device.first()

    def dying(name: str, files: Sequence[int]) -> list[Measurement]:
        if len(device.asked) == 3:
            raise KeyboardInterrupt
        return device.measure(name, files)

    with pytest.raises(KeyboardInterrupt):
        settle_ties(first, lambda _rows: {LATENCY: [0, 1]}, dying, step, 3)
    settle_ties(first, lambda _rows: {LATENCY: [0, 1]}, other.measure, step, 3)
    assert len(other.asked) == 1


def test_rounds_of_other_files_are_damage(tmp_path: Path) -> None:
    step = CachedStep(tmp_path / "again.json", 0)
    step.store([[{}]])
    with pytest.raises(DamagedFileError, match="rounds of 2 files"):
        settle_ties(Noisy((1.0, 1.0)).first(), tied, Noisy((1.0, 1.0)).measure, step, 3)
