"""Measuring candidates on the search split, with what is known of the device."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import optuna

from nas.checks import failing_as, told
from nas.errors import EvaluationError, ObjectiveError, StudyChangedError
from nas.evaluation.costs import counted
from nas.evaluation.machine import processor_name
from nas.evaluation.stored import stored_bytes
from nas.objective import Measurement
from nas.protocols import Bench, Candidate, MeasuredObjective
from nas.runner.preparation import Prepared
from nas.search.patience import Sleep, checked, waited_for
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
            o.objective.name: waited_for(
                partial(calibrated, o), f"the calibration of {o.objective.name!r}", sleep
            )
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
        of_device = objective is not prepared.measured[0]
        results[name] = judged(objective, [candidate], bench, of_device=of_device)[0]
    return results


def judged(
    objective: MeasuredObjective, candidates: Sequence[Candidate], bench: Bench, *, of_device: bool
) -> list[Measurement]:
    """Return what an objective measures, checked: the one place that calls ``measure``.

    Args:
        objective: Measures.
        candidates: To measure.
        bench: On what.
        of_device: Whether what is not finite may be finite in another attempt, see :func:`nas.search.patience.checked`.

    Raises:
        EvaluationError: it raised, or what it returned is not one finite measurement per candidate.
    """
    name = objective.objective.name
    with failing_as(EvaluationError, f"objective {name!r} failed", "mend it and run the same command again"):
        found = objective.measure(candidates, bench)
    if not isinstance(found, Sequence) or not all(isinstance(one, Measurement) for one in found):
        raise EvaluationError(
            f"objective {name!r} gave {told(found)}: a list of nas.Measurement is expected."
        )
    if len(found) != len(candidates):
        raise EvaluationError(
            f"objective {name!r} gave {len(found)} measurements of {len(candidates)} candidates: one of each is "
            "expected, in order."
        )
    return [checked(name, measurement, of_device=of_device) for measurement in found]


def calibrated(objective: MeasuredObjective) -> dict[str, float]:
    """Return what an objective knows of the device, as plain numbers: the one place that calls ``calibrate``.

    Raises:
        ObjectiveError: it raised, or what it returned can't be stored.
    """
    what = f"calibrate() of objective {objective.objective.name!r}"
    with failing_as(ObjectiveError, f"{what} failed", "mend it and run the same command again"):
        found = objective.calibrate()
    if not isinstance(found, Mapping):
        raise ObjectiveError(f"{what} returned {told(found)}: a dict of numbers is expected, or {{}}.")
    advice = "return finite numbers by name, such as {'reference_ms': 1.5}"
    with failing_as(ObjectiveError, f"what {what} returned can't be stored", advice):
        plain = {str(key): float(value) for key, value in found.items()}
        json.dumps(plain, allow_nan=False, ensure_ascii=False).encode()
    return plain


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
    of_file = replace(counts, stored_bytes=stored)
    values = {o.objective: float(counted(o, of_file)[0]) for o in prepared.counted}
    return {o.name: Measurement(value, 0.0, o.unit, "", 1) for o, value in values.items()}


def counted_on(prepared: Prepared) -> dict[str, str]:
    """Return on what each counted objective is counted: its ``architecture``, or the exported ``file``."""
    space = prepared.problem.space
    counts = prepared.counter.counts(space.indices([space.largest()]))
    full, packed = (replace(counts, stored_bytes=n * counts.num_params) for n in (_BYTES_PER_PARAM, 1))
    follows = {
        o.objective.name: bool((counted(o, full) != counted(o, packed)).any()) for o in prepared.counted
    }
    return {name: "file" if does else "architecture" for name, does in follows.items()}
