"""Calibrates a surrogate's intervals by the errors of its earlier predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from optuna.trial import FrozenTrial
from scipy.stats import norm

from nas.objective import Objective
from nas.search.record.trials import predictions_of, spread_of, widening_of
from nas.space import FloatArray

_SHARE, _WIDE_SHARE = 0.683, 0.954  # of a normal distribution within one deviation and within two
_NUM_SUPPOSED = 8
"""As many predictions that were right are supposed besides the real ones, so that three surprises don't decide."""
_NUM_LATEST = 16
"""A model that has learned more is wrong in other ways: what was predicted long ago doesn't count."""
_FAR_OFF = 6.0
"""No surprise counts for more deviations: there are more than a normal distribution has."""
_MOST = 10.0
"""A model that is too unsure by more than this is not mended by a factor."""


def widening(objectives: Sequence[Objective], trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Return the factor by which each objective's predicted deviations must be multiplied.

    Each trial's prediction was made before its value was measured, by a model that knew less: a check that costs
    nothing (prequential, Dawid 1984), and one on the very architectures that a search picks, for which the model
    promises more than for others. The factor is such that the right shares of the latest values lie within one and
    within two deviations, as far as one number can do both.

    Args:
        objectives: In the order of a trial's values.
        trials: Finished, with finite values, by number; those without a prediction tell nothing.

    Returns:
        Positive factors by the name of the objective; 1 where nothing was predicted.
    """
    return {o.name: _factor(_surprises(o.name, column, trials)) for column, o in enumerate(objectives)}


def surprise_of(trial: FrozenTrial, name: str, column: int) -> float | None:
    """Return a trial's error of prediction in units of the predicted deviation; None without a prediction.

    The deviation is the predicted one, on the side of the value, and the spread of the measurement, in quadrature.

    Args:
        trial: Finished, with finite values.
        name: Name of the objective.
        column: Column of its values.
    """
    predicted = predictions_of(trial).get(name)
    if predicted is None:
        return None
    expected, *ends = predicted
    value = trial.values[column]
    end = max(ends) if value > expected else min(ends)
    deviation = float(np.hypot(end - expected, spread_of(trial, name)))
    return abs(value - expected) / deviation if deviation > 0 else float(value != expected)


def _surprises(name: str, column: int, trials: Sequence[FrozenTrial]) -> FloatArray:
    """Return the latest surprises, in deviations as the model itself gave them."""
    offs = [(trial, surprise_of(trial, name, column)) for trial in trials]
    found = [off * widening_of(trial).get(name, 1.0) for trial, off in offs if off is not None]
    return np.array(found[-_NUM_LATEST:])


def _factor(surprises: FloatArray) -> float:
    """Return what the right shares of the surprises, and of some that are supposed besides, are below."""
    if not len(surprises):
        return 1.0
    supposed = norm.ppf(0.5 + 0.5 * (np.arange(_NUM_SUPPOSED) + 0.5) / _NUM_SUPPOSED)
    offs = np.minimum(np.concatenate([surprises, supposed]), _FAR_OFF)
    one, two = np.quantile(offs, [_SHARE, _WIDE_SHARE])
    return max(float(np.sqrt(one * two / 2)), 1 / _MOST)
