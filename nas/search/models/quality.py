"""How good a surrogate's predictions were, each made before its trial was evaluated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from optuna.trial import FrozenTrial

from nas.agreement import kendall_tau, spearman_rho
from nas.objective import Objective
from nas.search.record.trials import PREDICTED_FROM, predictions_of, spread_of

_MIN_TRIALS = 3
"""The rank correlation of two is 1 or -1, whatever was predicted."""
_MIN_TRIALS_OF_REFITS = 10
"""A refit is followed by at most eight trials, too few for a share within a standard deviation."""
_NUM_LATEST = 3
"""Groups in a report: enough to see whether predictions get better."""


@final
@dataclass(frozen=True)
class SurrogateQuality:
    """Predictions of one measured objective against what was then measured.

    The trials are those that the search chose, so they lie closer together than random ones, and are
    harder to rank.

    Args:
        objective: Its name.
        num_trials: How many were predicted and evaluated.
        kendall_tau: Rank correlation; NaN where predictions or values are all equal.
        spearman: Another one.
        rmse: Root mean squared error, in the objective's unit.
        within: Share of values at most a standard deviation off, the prediction's and the measurement's own in
            quadrature; 0.68 when calibrated. What scatters but is measured with a spread of 0 has less.
    """

    objective: str
    num_trials: int
    kendall_tau: float
    spearman: float
    rmse: float
    within: float

    def __str__(self) -> str:
        return (
            f"surrogate, {self.objective}: tau {self.kendall_tau:.2f}, Spearman {self.spearman:.2f}, "
            f"RMSE {self.rmse:.3g}, {self.within:.0%} within a standard deviation ({self.num_trials} trials)"
        )


def surrogate_quality(
    objectives: Sequence[Objective], trials: Sequence[FrozenTrial]
) -> list[SurrogateQuality]:
    """Return the quality for every objective of which at least three trials were predicted.

    For the quality of some refits, pass the trials that were proposed after them, see :func:`latest_refits`.

    Args:
        objectives: In the order of a trial's values.
        trials: Finished, with finite values.
    """
    found = []
    for column, objective in enumerate(objectives):
        predicted = [(trial, by) for trial in trials if objective.name in (by := predictions_of(trial))]
        if len(predicted) < _MIN_TRIALS:
            continue
        values = np.array([trial.values[column] for trial, _ in predicted])
        told = np.array([by[objective.name] for _, by in predicted])
        low, high = told[:, 1:].min(axis=1), told[:, 1:].max(axis=1)
        spread = np.array([spread_of(trial, objective.name) for trial, _ in predicted])
        low = told[:, 0] - np.hypot(told[:, 0] - low, spread)
        high = told[:, 0] + np.hypot(high - told[:, 0], spread)
        differ = np.ptp(values) > 0 and np.ptp(told[:, 0]) > 0
        found.append(
            SurrogateQuality(
                objective.name,
                len(predicted),
                kendall_tau(told[:, 0], values) if differ else math.nan,
                spearman_rho(told[:, 0], values) if differ else math.nan,
                float(np.sqrt(np.mean((told[:, 0] - values) ** 2))),
                float(np.mean((low <= values) & (values <= high))),
            )
        )
    return found


def latest_refits(trials: Sequence[FrozenTrial]) -> list[list[FrozenTrial]]:
    """Return the trials that were proposed after the surrogate's latest refits, oldest first, in at most three groups.

    Only a few trials follow a refit, so a group joins as many refits as are needed for ten trials.

    Args:
        trials: Any; those of which it isn't known how many trials the surrogate had learned from are left out.
    """
    groups: list[list[FrozenTrial]] = [[]]
    for trial in sorted(trials, key=lambda t: -t.number):
        if PREDICTED_FROM not in trial.system_attrs:
            continue
        is_other = bool(groups[-1]) and _count_learned(trial) != _count_learned(groups[-1][-1])
        if is_other and len(groups[-1]) >= _MIN_TRIALS_OF_REFITS:
            groups.append([])
        groups[-1].append(trial)
    return [group[::-1] for group in groups[:_NUM_LATEST] if len(group) >= _MIN_TRIALS_OF_REFITS][::-1]


def refit_quality(
    objectives: Sequence[Objective], trials: Sequence[FrozenTrial]
) -> list[tuple[str, list[SurrogateQuality]]]:
    """Return what each group of :func:`latest_refits` is called, and its quality by objective.

    Args:
        objectives: In the order of a trial's values.
        trials: Finished, with finite values.
    """
    return [(_name_group(group), surrogate_quality(objectives, group)) for group in latest_refits(trials)]


def quality_sentences(objectives: Sequence[Objective], trials: Sequence[FrozenTrial]) -> list[str]:
    """Return, per objective that was predicted, the quality over all trials and that of the latest refits.

    Args:
        objectives: In the order of a trial's values.
        trials: Finished, with finite values.
    """
    groups = refit_quality(objectives, trials)
    sentences = []
    for pooled in surrogate_quality(objectives, trials):
        latest = [
            f"{name}: tau {q.kendall_tau:.2f}, RMSE {q.rmse:.3g}, {q.within:.0%} within ({q.num_trials} trials)"
            for name, found in groups
            for q in found
            if q.objective == pooled.objective
        ]
        sentences.append("; ".join([str(pooled), *latest]))
    return sentences


def _name_group(group: Sequence[FrozenTrial]) -> str:
    first, last = _count_learned(group[0]), _count_learned(group[-1])
    return f"refit on {last} trials" if first == last else f"refits on {first} to {last} trials"


def _count_learned(trial: FrozenTrial) -> int:
    return int(trial.system_attrs[PREDICTED_FROM])
