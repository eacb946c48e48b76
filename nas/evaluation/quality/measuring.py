"""Measuring a quality: statistics of items, batch by batch, and how far their value may be off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from nas.checks import quote
from nas.errors import EvaluationError
from nas.inputs import Inputs
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Candidate
from nas.space import FloatArray
from nas.splits import Split
from nas.task import Decoded, Quality

_ROWS = 4096
"""Normalised and predicted at a time, so that a large split is never in memory as floats."""
_POSITIONS = 2**20
"""Targets predicted at a time: outputs of twelve classes then take 50 MB."""
_RESAMPLES = 200
"""Samples of the bootstrap; a standard deviation is then known to 5 % (Efron 1993, section 6.4)."""


@final
@dataclass(frozen=True)
class MeasuredQuality:
    """A quality as an objective that is measured.

    Args:
        quality: Quality whose value it is.
    """

    quality: Quality

    @property
    def objective(self) -> Objective:
        """Name, unit, direction."""
        return self.quality.objective

    def calibrate(self) -> dict[str, float]:
        """Nothing to know beforehand."""
        return {}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        """Measure each candidate on the whole split."""
        return [
            measure_statistics(self.quality, collect_statistics(self.quality, candidate, bench.split))
            for candidate in candidates
        ]


def collect_statistics(quality: Quality, candidate: Candidate, split: Split) -> FloatArray:
    """Return the ``(n, k)`` statistics of a candidate's outputs for a whole split; NaN where outputs are.

    Raises:
        EvaluationError: the quality gives something else.
    """
    found = []
    size = rows_at_a_time(split)
    for start in range(0, len(split), size):
        rows = slice(start, start + size)
        outputs, targets = outputs_for(quality, candidate, split.batch(rows)), split.targets[rows].cpu()
        found.append(statistics_of(quality, outputs, targets))
    return np.concatenate(found)


def outputs_for(quality: object, candidate: Candidate, inputs: Inputs) -> Tensor:
    """Return a candidate's outputs as the quality judges them: of one pass, or of several where it decodes."""
    return (
        quality.decode(candidate.predict, inputs)
        if isinstance(quality, Decoded)
        else candidate.predict(inputs)
    )


def statistics_of(quality: Quality, outputs: Tensor, targets: Tensor) -> FloatArray:
    """Return the ``(n, k)`` statistics of some outputs; those with a NaN have NaN, which an argmax would hide.

    Raises:
        EvaluationError: the quality gives something else.
    """
    made = quality.statistics(outputs, targets)
    if not isinstance(made, Tensor) or made.ndim != 2 or len(made) != len(targets):
        shape = f"shape {tuple(made.shape)}" if isinstance(made, Tensor) else quote(made)
        raise EvaluationError(
            f"statistics() of {quality!r} gave {shape} for {len(targets)} items: a tensor of shape (n, k) is expected."
        )
    statistics: FloatArray = made.double().numpy()
    statistics[outputs.flatten(1).isnan().any(dim=1).numpy()] = np.nan
    return statistics


def measure_statistics(quality: Quality, statistics: FloatArray) -> Measurement:
    """Return the value of ``(n, k)`` statistics with its spread."""
    value = quality.value(statistics) if np.isfinite(statistics).all() else math.nan
    spread = _spread(quality, statistics, value) if math.isfinite(value) else math.nan
    return Measurement(value, spread, quality.objective.unit, "", len(statistics))


def _spread(quality: Quality, statistics: FloatArray, value: float) -> float:
    """Return the standard deviation of a value if other items had been drawn (bootstrap, Efron 1993).

    It is known without resampling where the value is the share of items that are right: binomial.
    """
    are_shares = statistics.shape[1] == 1 and np.isin(statistics, (0.0, 1.0)).all()
    if are_shares and value == _mean(statistics):
        return math.sqrt(value * (1 - value) / len(statistics))
    rng = np.random.default_rng(0)
    values = [
        quality.value(statistics[rng.integers(len(statistics), size=len(statistics))])
        for _ in range(_RESAMPLES)
    ]
    finite = [resampled for resampled in values if math.isfinite(resampled)]
    return float(np.std(finite)) if len(finite) > 1 else 0.0


def _mean(statistics: FloatArray) -> float:
    return float(torch.from_numpy(statistics).mean())


def rows_at_a_time(split: Split) -> int:
    """Return how many items of a split to predict at a time, so that their outputs fit into the memory."""
    positions = math.prod(split.targets.shape[1:])
    return max(1, min(_ROWS, _POSITIONS // max(1, positions)))
