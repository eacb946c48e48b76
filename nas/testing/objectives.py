"""The contracts of counted and measured objectives."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import final

import numpy as np
import torch
from torch import nn

from nas.evaluation import SubnetCandidate
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Calibration, CountedObjective, Counts, MeasuredObjective
from nas.space import FloatArray
from nas.splits import Split
from nas.task import Quality
from nas.testing.promises import Contract, Promise, check_repr
from nas.testing.small_network import small_network

_MACS = (1, 10_000, 3_000_000_000, 10_000, 77)
_NUM_PARAMS = (1, 500, 70_000_000_000, 500, 77)
"""Counts from a network with a single weight up to more than 32 bits hold; two architectures have equal ones."""
_ITEMS = 24
"""Images to evaluate on: a few of each class."""


@Contract
def check_counted_objective(objective: CountedObjective) -> Sequence[Promise]:
    """Check a counted objective: a pure function of the counts, one finite value per architecture.

    Also with the bytes of winners' files; and ``repr`` tells the settings.

    Args:
        objective: To check.

    Raises:
        BrokenPromisesError: promises are broken.
        AssertionError: it is no counted objective.
    """
    assert isinstance(objective, CountedObjective), f"{objective!r} lacks objective or count()"
    case = _CountedCase(objective)
    return [
        Promise("repr tells the settings", partial(check_repr, objective)),
        Promise("it has a name, a unit and a direction", partial(_check_objective, objective)),
        Promise("it gives one finite value per architecture", case.check_values),
        Promise("it is a pure function", case.check_pure),
        Promise("counts that it is given stay as they are", case.check_counts_stay),
        Promise("a value depends on its own architecture alone", case.check_alone),
        Promise("winners' files have values too", case.check_files),
    ]


@final
@dataclass(frozen=True)
class _CountedCase:
    counted: CountedObjective

    @cached_property
    def _values(self) -> FloatArray:
        return self.counted.count(_make_counts())

    def check_values(self) -> None:
        values, count = self._values, len(_MACS)
        assert values.shape == (count,), (
            f"count() gives shape {values.shape} for {count} architectures, expected ({count},)"
        )
        assert np.isfinite(values).all(), f"count() gives {values}: every value must be finite"

    def check_pure(self) -> None:
        assert self._values[1] == self._values[3], "equal counts must give equal values"
        assert np.array_equal(self.counted.count(_make_counts()), self._values), (
            "count() must be a pure function"
        )

    def check_counts_stay(self) -> None:
        counts, before = _make_counts(), _make_counts()
        self.counted.count(counts)
        untouched = all(
            np.array_equal(getattr(counts, name), getattr(before, name))
            for name in ("macs", "num_params", "training_macs")
        )
        assert untouched, "count() changes the counts it is given"

    def check_alone(self) -> None:
        alone = [self.counted.count(_make_counts([row])) for row in range(len(_MACS))]
        shapes = {value.shape for value in alone}
        assert shapes == {(1,)}, f"count() gives shapes {shapes} for one architecture, expected (1,)"
        assert np.array_equal(np.concatenate(alone), self._values), (
            "a value must not depend on the other architectures"
        )

    def check_files(self) -> None:
        counts = _make_counts()
        files = self.counted.count(dataclasses.replace(counts, stored_bytes=4 * counts.num_params))
        assert files.shape == self._values.shape, (
            f"count() gives shape {files.shape} for {len(_MACS)} files, expected {self._values.shape}"
        )
        assert np.isfinite(files).all(), f"count() gives {files} of files: every value must be finite"


def _make_counts(rows: Sequence[int] = range(len(_MACS))) -> Counts:
    """Return counts of some architectures, the second and the fourth of which are equal."""
    macs = np.array(_MACS, dtype=np.int64)[list(rows)]
    num_params = np.array(_NUM_PARAMS, dtype=np.int64)[list(rows)]
    return Counts(macs, num_params, training_macs=macs.astype(np.float64) * 100_000)


@Contract
def check_measured_objective(
    objective: MeasuredObjective | Quality,
    *,
    image_shape: tuple[int, int, int] = (3, 16, 16),
    num_classes: int = 10,
    candidates: Sequence[Callable[[], nn.Module]] = (),
) -> Sequence[Promise]:
    """Check a measured objective, or a quality of classification.

    ``repr`` tells the settings; ``calibrate`` returns JSON that still serves after being stored; ``measure`` returns
    one finite measurement per candidate, in order, with the objective's own unit, brief and thorough.

    Args:
        objective: To check.
        image_shape: Shape of the images it is given.
        num_classes: Number of classes of their labels.
        candidates: Make networks to measure; without any, two small ones of the suite.

    Raises:
        BrokenPromisesError: promises are broken.
        AssertionError: it is neither.
    """
    measured = MeasuredQuality(objective) if isinstance(objective, Quality) else objective
    assert isinstance(measured, MeasuredObjective), f"{measured!r} lacks objective, calibrate() or measure()"
    makers = candidates or [partial(small_network, image_shape[0], width, num_classes) for width in (2, 8)]
    case = _MeasuredCase(measured, image_shape, num_classes, makers)
    return [
        Promise("repr tells the settings", partial(check_repr, measured)),
        Promise("it has a name, a unit and a direction", partial(_check_objective, measured)),
        Promise("JSON keeps its calibration", case.check_calibration),
        Promise(
            "it measures each candidate in its unit, briefly", partial(case.check_measures, thorough=False)
        ),
        Promise(
            "it measures each candidate in its unit, thoroughly", partial(case.check_measures, thorough=True)
        ),
    ]


def _check_objective(objective: CountedObjective | MeasuredObjective) -> None:
    assert isinstance(objective.objective, Objective), "objective.objective must be a nas.Objective"


@final
@dataclass(frozen=True)
class _MeasuredCase:
    measured: MeasuredObjective
    image_shape: tuple[int, int, int]
    num_classes: int
    makers: Sequence[Callable[[], nn.Module]]

    @cached_property
    def _calibration(self) -> Calibration:
        return self.measured.calibrate()

    def check_calibration(self) -> None:
        stored = json.loads(json.dumps(self._calibration, allow_nan=False))
        assert stored == self._calibration, f"calibrate() gives {self._calibration}: JSON doesn't keep it"

    def check_measures(self, *, thorough: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(_ITEMS, *self.image_shape, generator=generator)
        split = Split(images, torch.arange(_ITEMS) % self.num_classes)
        networks = [SubnetCandidate(make(), self.image_shape) for make in self.makers]
        bench = Bench(split, thorough, json.loads(json.dumps(self._calibration)))
        _check_measurements(self.measured, self.measured.measure(networks, bench), len(networks))
        _check_measurements(self.measured, self.measured.measure(networks[:1], bench), 1)


def _check_measurements(objective: MeasuredObjective, got: list[Measurement], count: int) -> None:
    assert len(got) == count, f"measure() gives {len(got)} measurements for {count} candidates"
    for measurement in got:
        measurement.check_unit(objective.objective.name)
        unit = objective.objective.unit
        assert measurement.unit == unit, f"a measurement has unit {measurement.unit!r}, expected {unit!r}"
        assert measurement.spread >= 0, f"a spread is negative: {measurement}"
        assert measurement.repeats >= 1, f"a measurement without observations: {measurement}"
        again = Measurement(**json.loads(json.dumps(measurement.to_json())))
        assert again == measurement, f"{measurement} doesn't survive being stored"
