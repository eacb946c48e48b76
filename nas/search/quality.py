"""How good a surrogate's predictions were, each made before its trial was evaluated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from optuna.trial import FrozenTrial
from scipy.stats import kendalltau, spearmanr

from nas.objective import Objective
from nas.search.record import predictions_of

_MIN_TRIALS = 3


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
        within: Share of values at most a predicted standard deviation off; 0.68 when calibrated.
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

    What a refit was worth is seen by leaving out the trials before it: pass those since then.

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
        differ = np.ptp(values) > 0 and np.ptp(told[:, 0]) > 0
        found.append(
            SurrogateQuality(
                objective.name,
                len(predicted),
                float(kendalltau(told[:, 0], values).statistic) if differ else math.nan,
                float(spearmanr(told[:, 0], values).statistic) if differ else math.nan,
                float(np.sqrt(np.mean((told[:, 0] - values) ** 2))),
                float(np.mean((low <= values) & (values <= high))),
            )
        )
    return found
