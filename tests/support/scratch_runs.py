"""Runs whose candidates are trained from scratch, to be stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from fakes import Listener, tiny_study

from nas import Accuracy, FromScratch, Hurdles, NumParams, Recipe, Study, Winners
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objective import Measurement
from nas.objectives import Bench, Candidate, MeasuredObjective


class StopError(KeyboardInterrupt):
    """Ends a run as a kill would: nothing catches it."""


@dataclasses.dataclass
class StopsAt:
    """Accuracy, until the n-th measurement."""

    at: int
    calls: int = 0
    objective: Any = Accuracy().objective

    def __repr__(self) -> str:
        return "StopsAt()"

    def calibrate(self) -> dict[str, float]:
        return {}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        self.calls += 1
        if self.calls == self.at:
            raise StopError
        return MeasuredQuality(Accuracy()).measure(candidates, bench)


class StopsAfter(Listener):
    """Ends a run after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def advance(self, note: str) -> None:
        super().advance(note)
        self._left -= 1
        if self._left == 0:
            raise StopError


def scratch_study(quality: MeasuredObjective | None = None, **changes: Any) -> Study:
    settings: dict[str, Any] = {
        "training": FromScratch(Hurdles(after=(1, 2), every=2)),
        "recipe": Recipe(epochs=4, batch_size=16, learning_rate=0.02),
        "objectives": (quality or StopsAt(0), NumParams()),
        "evaluations": 8,
        "winners": Winners(count=2, recipe=Recipe(epochs=1, learning_rate=1e-3)),
    }
    return tiny_study(**{**settings, **changes})
