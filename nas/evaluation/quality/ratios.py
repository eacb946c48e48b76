"""Ratios of which some have no denominator, because a class is not there."""

from __future__ import annotations

import math

import numpy as np

from nas.space import FloatArray


def ratio_of_known(numerators: FloatArray, denominators: FloatArray) -> FloatArray:
    """Return ratios; NaN where the denominator is 0."""
    ratios = np.full(numerators.shape, math.nan)
    np.divide(numerators, denominators, out=ratios, where=denominators > 0)
    return ratios


def mean_of_known(values: FloatArray) -> float:
    """Return the mean of the values that are not NaN; NaN where all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
