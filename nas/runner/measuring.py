"""Measures candidates on the search split, with the calibration of every objective."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import final

import optuna

from nas.checks import failing_as, quote
from nas.devices.machine import processor_name
from nas.errors import EvaluationError, ObjectiveError, StudyChangedError
from nas.evaluation.costs import count_costs, follows_file
from nas.objective import Measurement
from nas.objectives import Bench, Calibration, Candidate, Counts, MeasuredObjective, OnDevice
from nas.runner.compressing import Compressed
from nas.runner.preparation import Prepared
from nas.search.patience import Sleep, check_finite, wait_for_device
from nas.space import Architecture

CALIBRATION, PROCESSOR = "calibration", "processor"
Predict = Callable[[Mapping[str, Measurement]], Measurement | None]
"""Returns what an objective is predicted to be, given the others; None where it is to be measured."""
NOTHING_PREDICTED: Mapping[str, Predict] = MappingProxyType({})
Known = Mapping[str, Calibration]
"""What each measured objective knows of its device, by its name."""


def calibration(prepared: Prepared, record: optuna.Study, sleep: Sleep = time.sleep) -> Known:
    """Return what every measured objective knows of its device; measured once and stored.

    A device that is away is waited for.

    Raises:
        StudyChangedError: it was measured on another device.
    """
    stored: Known | None = record.user_attrs.get(CALIBRATION)
    if stored is None:
        stored = {
            o.objective.name: wait_for_device(
                partial(calibrate_objective, o), f"the calibration of {o.objective.name!r}", sleep
            )
            for o in prepared.measured
        }
        record.set_user_attr(CALIBRATION, stored)
        record.set_user_attr(PROCESSOR, processor_name())
        return stored
    for objective in prepared.measured:
        known = stored[objective.objective.name]
        if isinstance(objective, OnDevice):
            wait_for_device(
                partial(objective.check_device, known), f"the device of {objective.objective.name!r}", sleep
            )
        elif known:
            _check_processor(record.user_attrs[PROCESSOR])
    return stored


def names_on_device(objectives: Sequence[MeasuredObjective], known: Known) -> frozenset[str]:
    """Return the names of the objectives that are measured on a device: measuring again shows the noise in them.

    The spread of a quality is another one: how far it would move with other items. All networks see the same.

    Args:
        objectives: The quality first.
        known: What each knows of its device.
    """
    names = [(o, o.objective.name) for o in objectives[1:]]
    return frozenset(name for o, name in names if isinstance(o, OnDevice) or known[name])


def _check_processor(measured_on: str) -> None:
    if measured_on != processor_name():
        raise StudyChangedError(
            f"the study was measured on {measured_on} and this machine has {processor_name()}: measurements of two "
            "devices can't share a front; run in a new directory."
        )


@final
@dataclass(frozen=True)
class PartialEvaluation:
    """An evaluation except for what devices measure, which is left to the process that runs the study.

    So each device is the same one for all workers, and never has two measurements at the same time.

    Args:
        results: Measurements by objective.
        network: Network that devices are to measure; None where no objective needs one.
        leftovers: Files that are of no use once it is measured.
    """

    results: Mapping[str, Measurement]
    network: Candidate | None
    leftovers: tuple[Path, ...] = ()

    def on_devices(
        self, prepared: Prepared, known: Known, predict: Mapping[str, Predict] = NOTHING_PREDICTED
    ) -> dict[str, Measurement]:
        """Return all measurements of the candidate, after devices have measured it, briefly.

        Args:
            prepared: The study.
            known: What every measured objective knows of its device.
            predict: By objective that may be predicted. They come last, when the others are known.
        """
        results = dict(self.results)
        for objective in sorted(_of_devices(prepared), key=lambda o: o.objective.name in predict):
            name = objective.objective.name
            if name in predict and (told := predict[name](results)) is not None:
                results[name] = told
                continue
            assert self.network is not None, "there is a network where an objective is of a device"
            results[name] = _measure_briefly(prepared, objective, self.network, known)
        for file in self.leftovers:
            file.unlink(missing_ok=True)
        return results


def evaluate_compressed(prepared: Prepared, made: Compressed, known: Known) -> PartialEvaluation:
    """Evaluate a network on the search split, except for what devices measure; counts are those after the passes.

    Args:
        prepared: The study.
        made: The network.
        known: What every measured objective knows of its device.
    """
    results = count_measurements(prepared, made.counts())
    candidate, of_devices = made.candidate(prepared), _of_devices(prepared)
    for objective in prepared.measured:
        if objective not in of_devices:
            results[objective.objective.name] = _measure_briefly(prepared, objective, candidate, known)
    return PartialEvaluation(results, candidate if of_devices else None)


def evaluate_architecture(
    prepared: Prepared, architecture: Architecture, made: Compressed, known: Known
) -> PartialEvaluation:
    """Do what :func:`evaluate_compressed` does; counted objectives are as they were known ahead, where they were."""
    evaluation = evaluate_compressed(prepared, made, known)
    return replace(evaluation, results={**evaluation.results, **count_ahead(prepared, architecture)})


def _of_devices(prepared: Prepared) -> list[MeasuredObjective]:
    return [objective for objective in prepared.measured[1:] if isinstance(objective, OnDevice)]


def _measure_briefly(
    prepared: Prepared, objective: MeasuredObjective, candidate: Candidate, known: Known
) -> Measurement:
    bench = Bench(prepared.splits.search, thorough=False, calibration=known[objective.objective.name])
    return measure_candidates(objective, [candidate], bench, of_device=objective is not prepared.measured[0])[
        0
    ]


def measure_candidates(
    objective: MeasuredObjective, candidates: Sequence[Candidate], bench: Bench, *, of_device: bool
) -> list[Measurement]:
    """Return what an objective measures, checked: the one place that calls ``measure``.

    Args:
        objective: Measures.
        candidates: Networks to measure.
        bench: Items and calibration of the measurement.
        of_device: Whether what is not finite may be finite in another attempt, see
            :func:`nas.search.patience.check_finite`.

    Raises:
        EvaluationError: it raised, or what it returned is not one finite measurement per candidate.
    """
    name = objective.objective.name
    with failing_as(EvaluationError, f"objective {name!r} failed", "mend it and run the same command again"):
        found = objective.measure(candidates, bench)
    if not isinstance(found, Sequence) or not all(isinstance(one, Measurement) for one in found):
        raise EvaluationError(
            f"objective {name!r} gave {quote(found)}: a list of nas.Measurement is expected."
        )
    if len(found) != len(candidates):
        raise EvaluationError(
            f"objective {name!r} gave {len(found)} measurements of {len(candidates)} candidates: one of each is "
            "expected, in order."
        )
    return [check_finite(name, measurement, of_device=of_device) for measurement in found]


def measure_winners(
    prepared: Prepared, objective: MeasuredObjective, candidates: Sequence[Candidate], bench: Bench
) -> list[Measurement]:
    """Return what an objective measures of winners; a device that is away is waited for."""
    of_device = objective is not prepared.measured[0]
    work = partial(measure_candidates, objective, candidates, bench, of_device=of_device)
    return wait_for_device(work, f"measuring {objective.objective.name!r} of the winners")


def calibrate_objective(objective: MeasuredObjective) -> dict[str, float | str]:
    """Return what an objective knows of its device, as plain values: the one place that calls ``calibrate``.

    Raises:
        ObjectiveError: it raised, or what it returned can't be stored.
    """
    what = f"calibrate() of objective {objective.objective.name!r}"
    with failing_as(ObjectiveError, f"{what} failed", "mend it and run the same command again"):
        found = objective.calibrate()
    if not isinstance(found, Mapping):
        raise ObjectiveError(
            f"{what} returned {quote(found)}: a dict of numbers and texts is expected, or {{}}."
        )
    advice = "return finite numbers by name, such as {'reference_ms': 1.5}"
    with failing_as(ObjectiveError, f"what {what} returned can't be stored", advice):
        plain = {str(key): value if isinstance(value, str) else float(value) for key, value in found.items()}
        json.dumps(plain, allow_nan=False, ensure_ascii=False).encode()
    return plain


def count_ahead(prepared: Prepared, architecture: Architecture) -> dict[str, Measurement]:
    """Return the counted objectives of an architecture that are known before it is paid for, exact."""
    counts = prepared.problem.count(prepared.problem.space.indices([architecture]))
    units = {o.name: o.unit for o in prepared.problem.objectives}
    return {name: Measurement(float(v[0]), 0.0, units[name], "", 1) for name, v in counts.items()}


def count_measurements(prepared: Prepared, counts: Counts) -> dict[str, Measurement]:
    """Return the counted objectives of what is made already, a network or its file, exact."""
    values = {o.objective: float(count_costs(o, counts)[0]) for o in prepared.counted}
    return {o.name: Measurement(value, 0.0, o.unit, "", 1) for o, value in values.items()}


def tell_counted_on(prepared: Prepared) -> dict[str, str]:
    """Return on what each counted objective is counted: its ``architecture``, or the exported ``file``."""
    return {o.objective.name: "file" if follows_file(o) else "architecture" for o in prepared.counted}
