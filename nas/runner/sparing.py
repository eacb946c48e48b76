"""Latencies that a run measures for a few candidates alone and predicts for the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from nas.devices.latency_features import Known as KnownNumbers
from nas.devices.latency_profile import LatencyProfile
from nas.evaluation import LatencyMs
from nas.objective import Measurement
from nas.objectives import Bench, Calibration, Candidate
from nas.progress import Progress
from nas.runner.compressing import compress_in_search
from nas.runner.measuring import Known, Predict, measure_candidates
from nas.runner.preparation import Prepared
from nas.search.patience import wait_for_device
from nas.search.record.trials import architecture_of, complete_trials, measure_later, measurements_of
from nas.search.spared import Spare, SparedBasis, SparedLatency
from nas.space import Architecture, FloatArray, IntArray


def make_counts(prepared: Prepared) -> KnownNumbers:
    """Return what counts MACs and parameters of architectures, for a latency model."""

    def count(indices: IntArray) -> FloatArray:
        counts = prepared.counts(indices)
        return np.maximum(np.stack([counts.macs, counts.num_params], axis=1), 1).astype(np.float64)

    return count


def _make_numbers(prepared: Prepared, profile: Path | None) -> KnownNumbers:
    """Return MACs, parameters, and what a profile says."""
    counted = make_counts(prepared)
    if profile is None:
        return counted
    model = LatencyProfile.load(profile).model(prepared.problem.space, counted)
    return lambda indices: np.column_stack([counted(indices), model.predict(indices).ms])


def _list_spared(prepared: Prepared) -> list[LatencyMs]:
    return [o for o in prepared.measured if isinstance(o, LatencyMs) and o.measurements is not None]


@final
class Sparing:
    """The latencies of a study that are measured of few candidates alone.

    Args:
        prepared: The study.

    Raises:
        StudyError: a profile is not there, or of another space.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.objectives = _list_spared(prepared)
        self.latencies = [
            SparedLatency(prepared.problem, Spare(o.name, o.measurements, _make_numbers(prepared, o.profile)))
            for o in self.objectives
            if o.measurements is not None
        ]

    def find_basis(self, record: optuna.Study) -> tuple[SparedBasis, ...]:
        """Return what deciding on one more candidate rests on, by latency."""
        return tuple(latency.find_basis(record) for latency in self.latencies)

    def predict(self, architecture: Architecture, bases: Sequence[SparedBasis]) -> dict[str, Predict]:
        """Return what predicts a candidate's latencies, or says that they are to be measured, by objective."""
        pairs = zip(self.latencies, bases, strict=True)
        return {latency.name: partial(latency.predict, basis, architecture) for latency, basis in pairs}


def measure_spared(prepared: Prepared, record: optuna.Study, known: Known, progress: Progress) -> None:
    """Measure members of the front whose latency was only predicted, as far as measurements are left."""
    sparing = Sparing(prepared)
    for objective, spared in zip(sparing.objectives, sparing.latencies, strict=True):
        column = [o.name for o in prepared.problem.objectives].index(spared.name)
        while trials := spared.list_unsettled(record):
            architectures = [architecture_of(prepared.problem.space, trial) for trial in trials]
            found = measure_untrained(prepared, objective, architectures, known[spared.name])
            for trial, measurement in zip(trials, found, strict=True):
                measure_later(record, trial.number, column, spared.name, measurement)
        trials = complete_trials(record)
        progress.say(
            f"{len(spared.list_measured(trials))} of {len(trials)} {spared.name} were measured, the others predicted"
        )


def select_measured(prepared: Prepared, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials of which no latency was only predicted."""
    names = [objective.name for objective in _list_spared(prepared)]
    return [t for t in trials if all(measurements_of(t)[name].repeats > 0 for name in names)]


def measure_untrained(
    prepared: Prepared, objective: LatencyMs, architectures: Sequence[Architecture], known: Calibration
) -> list[Measurement]:
    """Return latencies of architectures, which take turns; whatever their weights are, they take the same time.

    A device that is away is waited for.
    """
    candidates: list[Candidate] = []
    for architecture in architectures:
        module = prepared.supernet.extract(prepared.network_of(architecture)).eval()
        candidates.append(compress_in_search(prepared, architecture, module).candidate(prepared))
    bench = Bench(prepared.splits.search, thorough=False, calibration=known)
    work = partial(measure_candidates, objective, candidates, bench, of_device=True)
    return wait_for_device(work, f"measuring {objective.name!r} of {len(candidates)} architectures")
