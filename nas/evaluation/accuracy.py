"""Accuracy: the share of images whose class is right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch

from nas.objective import Measurement, Objective
from nas.protocols import Bench, Candidate

_ROWS = 4096
"""Normalised at a time, so that a large split is never in memory as floats."""


@final
@dataclass(frozen=True)
class Accuracy:
    """Share of the split's images that are classified right, in [0, 1]; spread is binomial."""

    objective: Objective = Objective("accuracy", "", "maximize")

    def calibrate(self) -> dict[str, float]:
        """Nothing to know beforehand."""
        return {}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        """Classify the whole split with each candidate."""
        return [self._measure(candidate, bench) for candidate in candidates]

    def _measure(self, candidate: Candidate, bench: Bench) -> Measurement:
        split = bench.split
        logits = torch.cat([candidate.predict(batch) for batch in split.batches(_ROWS)])
        rate = (logits.argmax(dim=1) == split.labels).double().mean().item()
        if logits.isnan().any():
            rate = math.nan  # argmax would hide it
        spread = math.sqrt(rate * (1 - rate) / len(split))
        return Measurement(rate, spread, self.objective.unit, "", len(split))
