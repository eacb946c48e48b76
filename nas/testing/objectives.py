"""The contracts of counted and measured objectives."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

from nas.evaluation import SubnetCandidate
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objective import Measurement, Objective
from nas.objectives import Bench, CountedObjective, Counts, MeasuredObjective
from nas.splits import Split
from nas.task import Quality
from nas.testing.small_network import small_network


def check_counted_objective(objective: CountedObjective) -> None:
    """Check a counted objective: a pure function of the counts, one finite value per architecture.

    Args:
        objective: To check.

    Raises:
        AssertionError: a promise is broken.
    """
    macs = np.array([1, 10_000, 3_000_000_000, 10_000, 77], dtype=np.int64)
    num_params = np.array([1, 500, 70_000_000_000, 500, 77], dtype=np.int64)
    training = macs.astype(np.float64) * 100_000
    values = objective.count(Counts(macs.copy(), num_params.copy(), training_macs=training.copy()))
    assert isinstance(objective.objective, Objective), "objective.objective must be a nas.Objective"
    assert values.shape == (5,), f"count() gives shape {values.shape} for 5 architectures, expected (5,)"
    assert np.isfinite(values).all(), f"count() gives {values}: every value must be finite"
    assert values[1] == values[3], "equal counts must give equal values"
    counts = Counts(macs.copy(), num_params.copy(), training_macs=training.copy())
    assert np.array_equal(objective.count(counts), values), "count() must be a pure function"
    given = ((counts.macs, macs), (counts.num_params, num_params), (counts.training_macs, training))
    untouched = all(np.array_equal(after, before) for after, before in given if after is not None)
    assert untouched, "count() changes the counts it is given"
    alone = [
        objective.count(Counts(macs[[row]], num_params[[row]], training_macs=training[[row]]))
        for row in range(5)
    ]
    shapes = {value.shape for value in alone}
    assert shapes == {(1,)}, f"count() gives shapes {shapes} for one architecture, expected (1,)"
    assert np.array_equal(np.concatenate(alone), values), "a value must not depend on the other architectures"


def check_measured_objective(
    objective: MeasuredObjective | Quality,
    *,
    image_shape: tuple[int, int, int] = (3, 16, 16),
    num_classes: int = 10,
    candidates: Sequence[Callable[[], nn.Module]] = (),
) -> None:
    """Check a measured objective, or a quality of classification.

    ``calibrate`` returns JSON that still serves after being stored; ``measure`` returns one finite
    measurement per candidate, in order, with the objective's own unit, brief and thorough.

    Args:
        objective: To check.
        image_shape: Shape of the images it is given.
        num_classes: Number of classes of their labels.
        candidates: Make networks to measure; without any, two small ones of the suite.

    Raises:
        AssertionError: a promise is broken.
    """
    if isinstance(objective, Quality):
        objective = MeasuredQuality(objective)
    calibration = objective.calibrate()
    stored = json.loads(json.dumps(calibration, allow_nan=False))
    assert stored == calibration, f"calibrate() gives {calibration}: JSON doesn't keep it"
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(24, *image_shape, generator=generator)
    split = Split(images, torch.arange(24) % num_classes)
    makers = candidates or [partial(small_network, image_shape[0], width, num_classes) for width in (2, 8)]
    networks = [SubnetCandidate(make(), image_shape) for make in makers]
    for thorough in (False, True):
        bench = Bench(split, thorough, stored)
        _check_measurements(objective, objective.measure(networks, bench), len(networks))
        _check_measurements(objective, objective.measure(networks[:1], bench), 1)


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
