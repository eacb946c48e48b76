"""What the attributes of an Optuna study and its trials mean: the record of a search."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.choices import Option
from nas.errors import SpaceError, one_line
from nas.objective import Measurement, Objective
from nas.space import Architecture, FloatArray, IntArray, SearchSpace
from nas.typed import MismatchError, read_as

# Names of attributes. A record keeps them, so one that is renamed can't be read from older records.
PREDICTED, PREDICTED_FROM, NOTHING_LEFT = "predicted", "predicted_from", "nothing_left"
WIDENED, SAID = "predicted_widened", "said"
ARCHITECTURE, MEASUREMENTS, SECONDS = "architecture", "measurements", "seconds"
REPEATS, ERROR = "repeats", "error"
LOST, RETRIES = "lost", "retries"
REFUSED = "refused"
REFERENCE, LIMITS, SOFT_LIMITS, ENDED = "reference_box", "limits", "soft_limits", "ended"
FORGIVEN = "forgiven"
WORKER, BROKEN = "worker", "broken_workers"
_MEASURED_LATER = "measured_later:"  # and the trial's number, and the column of its values


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return the space as Optuna sees it: every choice, categorical, conditions left out."""
    return {c.name: CategoricalDistribution(c.options) for c in space.choices}


def by_completion(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return finished trials in the order in which they ended."""
    return sorted(trials, key=lambda trial: (trial.datetime_complete or datetime.max, trial.number))


def options_of(space: SearchSpace, trial: FrozenTrial) -> dict[str, Option] | None:
    """Return a trial's options, queued ones included; None while some are missing, or not of this space."""
    options = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    if any(c.name not in options or not c.has(options[c.name]) for c in space.choices):
        return None
    return {choice.name: options[choice.name] for choice in space.choices}


def indices_of(space: SearchSpace, trials: Sequence[FrozenTrial]) -> IntArray:
    """Return canonical option positions of each trial, ``(n, num_choices)``."""
    return space.canonical(space.indices(trial.params for trial in trials))


def is_paid(trial: FrozenTrial) -> bool:
    """Whether an evaluation was paid for: the trial finished or failed, and repeats no other.

    A trial whose device was away is failed too, but says nothing of its architecture and
    counts for nothing. Nor does one that another program queued with an option that is not of the space, nor one that
    is :func:`list_forgiven`, which a trial alone doesn't tell.
    """
    if trial.state == TrialState.FAIL:
        return LOST not in trial.user_attrs and REFUSED not in trial.user_attrs
    return trial.state == TrialState.COMPLETE and REPEATS not in trial.user_attrs


def has_values(trial: FrozenTrial) -> bool:
    """Whether a trial has finite values; Optuna itself takes an infinite one for a finished trial."""
    return trial.state == TrialState.COMPLETE and all(map(math.isfinite, trial.values))


def list_forgiven(study: Study) -> frozenset[int]:
    """Return the numbers of failed trials that say nothing of their architectures: the objective was broken."""
    return frozenset(study.user_attrs.get(FORGIVEN, ()))


def list_paid_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that an evaluation was spent on, oldest first."""
    unpaid = list_forgiven(study)
    return [t for t in study.get_trials(deepcopy=False) if is_paid(t) and t.number not in unpaid]


def soft_limits(study: Study) -> Mapping[str, float]:
    """Return the largest feasible costs by objective, as the search stored them."""
    limits: Mapping[str, float] = study.user_attrs.get(SOFT_LIMITS, {})
    return limits


def complete_trials(study: Study) -> list[FrozenTrial]:
    """Return the evaluated trials that have values, without repeats, oldest first.

    A value that was only predicted is replaced by what was measured after the trial had finished.
    """
    return with_later(study, [trial for trial in list_paid_trials(study) if has_values(trial)])


def measure_later(study: Study, number: int, column: int, name: str, measurement: Measurement) -> None:
    """Store what was measured of a finished trial, whose value of that objective was only predicted.

    Args:
        study: The record.
        number: Number of the trial.
        column: Column of the objective among the trial's values.
        name: Name of the objective.
        measurement: Measurement to store.
    """
    key = f"{_MEASURED_LATER}{number}:{column}"
    study.set_user_attr(key, {"objective": name, "measurement": measurement.to_json()})


def is_measured_later(study: Study, number: int, column: int) -> bool:
    """Return whether :func:`measure_later` stored something of a trial's objective."""
    return f"{_MEASURED_LATER}{number}:{column}" in study.user_attrs


def with_later(study: Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return trials in which values that were only predicted are replaced by those that were measured later.

    Optuna keeps finished trials as they are, so these are copies.
    """
    later: dict[int, dict[int, Mapping[str, Any]]] = {}
    for key, found in study.user_attrs.items():
        if key.startswith(_MEASURED_LATER):
            number, column = map(int, key.removeprefix(_MEASURED_LATER).split(":"))
            later.setdefault(number, {})[column] = found
    return [_replace_values(t, later[t.number]) if t.number in later else t for t in trials]


def _replace_values(trial: FrozenTrial, later: Mapping[int, Mapping[str, Any]]) -> FrozenTrial:
    made, values, stored = copy.copy(trial), list(trial.values), dict(trial.user_attrs[MEASUREMENTS])
    for column, found in later.items():
        values[column] = found["measurement"]["value"]
        stored[found["objective"]] = found["measurement"]
    made.values, made.user_attrs = values, {**trial.user_attrs, MEASUREMENTS: stored}
    return made


def costs_of(objectives: Sequence[Objective], trials: Sequence[FrozenTrial]) -> FloatArray:
    """Return the trials' values to be minimised, ``(n, num_objectives)``."""
    rows = [[o.cost(v) for o, v in zip(objectives, trial.values, strict=True)] for trial in trials]
    return np.array(rows, dtype=np.float64).reshape(len(trials), len(objectives))


def architecture_of(space: SearchSpace, trial: FrozenTrial) -> Architecture:
    """Return the architecture that a trial is about."""
    return space.architecture(trial.params)


def measurements_of(trial: FrozenTrial) -> dict[str, Measurement]:
    """Return a finished trial's measurements by objective name."""
    stored: Mapping[str, Mapping[str, float | str | int]] = trial.user_attrs[MEASUREMENTS]
    return {name: Measurement(**values) for name, values in stored.items()}  # type: ignore[arg-type]


def contradiction(space: SearchSpace, objectives: Sequence[Objective], study: Study) -> str | None:
    """Return what is wrong with an evaluated trial, as only damage to the database makes it; None if nothing is.

    A trial holds its values and its architecture twice, so either tells whether the other is as it was.
    """
    trials = complete_trials(study)
    try:
        found = space.from_indices(indices_of(space, trials))
        measured = [read_as(dict[str, Measurement], trial.user_attrs.get(MEASUREMENTS)) for trial in trials]
    except (SpaceError, KeyError, MismatchError) as error:
        return f"an evaluated trial: {one_line(error)}"
    for trial, architecture, stored in zip(trials, found, measured, strict=True):
        if trial.user_attrs.get(ARCHITECTURE) != architecture.id:
            return f"trial {trial.number} is not of the architecture that it names"
        values = [stored[o.name].value if o.name in stored else None for o in objectives]
        if values != trial.values:
            return f"trial {trial.number} has the values {trial.values} and was measured with {values}"
    return None


def predictions_of(trial: FrozenTrial) -> dict[str, list[float]]:
    """Return what a surrogate predicted for a trial before it was evaluated; {} if none did.

    By measured objective: the value, and those a standard deviation to either side.
    """
    predicted: dict[str, list[float]] = trial.system_attrs.get(PREDICTED, {})
    return predicted


def widening_of(trial: FrozenTrial) -> dict[str, float]:
    """Return the factors of the deviations of a trial's predictions, by objective; for a missing one it is 1."""
    widened: dict[str, float] = trial.system_attrs.get(WIDENED, {})
    return widened


def spread_of(trial: FrozenTrial, objective: str) -> float:
    """Return the spread of a trial's measurement; 0 where another program told the value."""
    measured = measurements_of(trial) if MEASUREMENTS in trial.user_attrs else {}
    return measured[objective].spread if objective in measured else 0.0


def keep_prediction(
    study: Study,
    trial: FrozenTrial,
    predicted: Mapping[str, list[float]],
    num_learned: int,
    widened: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Store what a surrogate that has learned from so many trials predicts for a trial that is being proposed."""
    study._storage.set_trial_system_attr(trial._trial_id, PREDICTED, predicted)
    study._storage.set_trial_system_attr(trial._trial_id, PREDICTED_FROM, num_learned)
    if widened:
        study._storage.set_trial_system_attr(trial._trial_id, WIDENED, dict(widened))


def store_source_values(study: Study, trial: FrozenTrial, said: Mapping[str, Mapping[str, float]]) -> None:
    """Store what sources say of a trial that is being proposed, by objective and source."""
    study._storage.set_trial_system_attr(trial._trial_id, SAID, said)


def read_source_values(trial: FrozenTrial) -> dict[str, dict[str, float]]:
    """Return what :func:`store_source_values` stored with a trial; {} if it stored nothing."""
    said: dict[str, dict[str, float]] = trial.system_attrs.get(SAID, {})
    return said


def wall_seconds(trials: Sequence[FrozenTrial]) -> float:
    """Return for how long trials were proposed and evaluated; what ran at the same time counts once.

    Interrupted attempts and the time between two runs don't count.
    """
    spans = [
        (t.datetime_complete.timestamp() - float(t.user_attrs[SECONDS]), t.datetime_complete.timestamp())
        for t in trials
        if t.datetime_complete is not None and SECONDS in t.user_attrs
    ]
    until, total = -math.inf, 0.0
    for begin, end in sorted(spans):
        total += max(end - max(begin, until), 0.0)
        until = max(until, end)
    return total
