"""Measuring candidates on the search split, with what is known of the device."""

from __future__ import annotations

from collections.abc import Mapping

import optuna

from nas.errors import StudyChangedError
from nas.evaluation.machine import processor_name
from nas.objective import Measurement
from nas.protocols import Bench, Candidate
from nas.runner.preparation import Prepared
from nas.space import Architecture

CALIBRATION, PROCESSOR = "calibration", "processor"
Known = Mapping[str, Mapping[str, float]]
"""By measured objective, what it knows of the device."""


def calibration(prepared: Prepared, record: optuna.Study) -> Known:
    """Return what every measured objective knows of the device; measured once and stored.

    Raises:
        StudyChangedError: it was measured on another processor.
    """
    stored: Known | None = record.user_attrs.get(CALIBRATION)
    if stored is None:
        stored = {o.objective.name: o.calibrate() for o in prepared.measured}
        record.set_user_attr(CALIBRATION, stored)
        record.set_user_attr(PROCESSOR, processor_name())
    elif any(stored.values()) and record.user_attrs[PROCESSOR] != processor_name():
        raise StudyChangedError(
            f"the study was measured on {record.user_attrs[PROCESSOR]} and this machine has "
            f"{processor_name()}: measurements of two devices can't share a front; run in a new directory."
        )
    return stored


def measurements(
    prepared: Prepared,
    architecture: Architecture,
    candidate: Candidate,
    known: Known,
) -> dict[str, Measurement]:
    """Return all objectives of a candidate on the search split, measured briefly.

    The quality comes last: a latency that was measured before has exported the candidate, which then
    classifies the split faster.
    """
    results = counted_measurements(prepared, architecture)
    for objective in reversed(prepared.measured):
        name = objective.objective.name
        bench = Bench(prepared.splits.search, thorough=False, calibration=known[name])
        results[name] = objective.measure([candidate], bench)[0]
    return results


def counted_measurements(prepared: Prepared, architecture: Architecture) -> dict[str, Measurement]:
    """Return the counted objectives of an architecture as exact measurements."""
    counts = prepared.problem.count(prepared.problem.space.indices([architecture]))
    units = {o.name: o.unit for o in prepared.problem.objectives}
    return {name: Measurement(float(v[0]), 0.0, units[name], "", 1) for name, v in counts.items()}
