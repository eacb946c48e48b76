"""Measuring candidates on the search split, with what is known of the device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna

from nas.errors import StudyChangedError
from nas.evaluation.machine import processor_name
from nas.evaluation.stored import stored_bytes
from nas.objective import Measurement
from nas.protocols import Bench, Candidate
from nas.runner.preparation import Prepared
from nas.search.patience import Sleep, waited_for
from nas.space import Architecture

CALIBRATION, PROCESSOR = "calibration", "processor"
_BYTES_PER_PARAM = 4
"""Of float32, as every network is exported."""
Known = Mapping[str, Mapping[str, float]]
"""By measured objective, what it knows of the device."""


def calibration(prepared: Prepared, record: optuna.Study, sleep: Sleep = time.sleep) -> Known:
    """Return what every measured objective knows of the device; measured once and stored.

    A device that is away is waited for.

    Raises:
        StudyChangedError: it was measured on another processor.
    """
    stored: Known | None = record.user_attrs.get(CALIBRATION)
    if stored is None:
        stored = {
            o.objective.name: waited_for(o.calibrate, f"the calibration of {o.objective.name!r}", sleep)
            for o in prepared.measured
        }
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
    """Return all objectives of a candidate on the search split, measured briefly."""
    results = counted_measurements(prepared, architecture)
    for objective in prepared.measured:
        name = objective.objective.name
        bench = Bench(prepared.splits.search, thorough=False, calibration=known[name])
        results[name] = objective.measure([candidate], bench)[0]
    return results


def counted_measurements(prepared: Prepared, architecture: Architecture) -> dict[str, Measurement]:
    """Return the counted objectives of an architecture as exact measurements."""
    counts = prepared.problem.count(prepared.problem.space.indices([architecture]))
    units = {o.name: o.unit for o in prepared.problem.objectives}
    return {name: Measurement(float(v[0]), 0.0, units[name], "", 1) for name, v in counts.items()}


def counted_of_file(
    prepared: Prepared, architecture: Architecture, path: Path, *, is_compressed: bool
) -> dict[str, Measurement]:
    """Return the counted objectives of an architecture in an exported file.

    The file of a plain export counts as the search counted it, 4 bytes for each parameter, though the exporter folds
    batch normalisation into the layers before it. A compressed file counts as it is.
    """
    counts = prepared.counter.counts(prepared.problem.space.indices([architecture]))
    stored = (
        np.array([stored_bytes(path.read_bytes())]) if is_compressed else _BYTES_PER_PARAM * counts.num_params
    )
    told = replace(counts, stored_bytes=stored)
    values = {o.objective: float(o.count(told)[0]) for o in prepared.counted}
    return {o.name: Measurement(value, 0.0, o.unit, "", 1) for o, value in values.items()}


def counted_on(prepared: Prepared) -> dict[str, str]:
    """Return on what each counted objective is counted: its ``architecture``, or the exported ``file``."""
    space = prepared.problem.space
    counts = prepared.counter.counts(space.indices([space.largest()]))
    full, packed = (replace(counts, stored_bytes=n * counts.num_params) for n in (_BYTES_PER_PARAM, 1))
    follows = {o.objective.name: bool((o.count(full) != o.count(packed)).any()) for o in prepared.counted}
    return {name: "file" if does else "architecture" for name, does in follows.items()}
