"""The box in which a study's hypervolume is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from optuna.study import Study

from nas import pareto
from nas.objective import Objective
from nas.search.record.credibility import FAR_OUT, are_credible, credible
from nas.search.record.trials import REFERENCE, complete_trials, costs_of
from nas.space import FloatArray

_NUM_FOR_REFERENCE = 10
"""Chosen: the first designs are spread over the space, so these span most of what follows, and progress is shown soon.
The box stays as it is, because hypervolumes in different boxes don't compare."""


@final
@dataclass(frozen=True)
class ReferenceBox:
    """The box that hypervolume is measured in: fixed once per study, so that runs compare.

    Args:
        best: ``(m,)`` lowest cost of each objective among the first ten evaluations.
        worst: ``(m,)`` highest that is not far out; the reference point lies a tenth of the range beyond it.
    """

    best: FloatArray
    worst: FloatArray

    @classmethod
    def around(cls, costs: FloatArray) -> ReferenceBox:
        """Return the box that ``(n, m)`` costs span, n >= 1.

        A cost is far out when it exceeds the third quartile by a thousand times the distance of the
        quartiles: a clock that stood still, an overflow. One such value would make the box so large that
        nothing else could be told apart in it.
        """
        first, third = np.quantile(costs, [0.25, 0.75], axis=0)
        usual = np.maximum(third - first, np.abs(third) / FAR_OUT)
        near = np.where(costs <= third + FAR_OUT * usual, costs, -np.inf)
        return cls(costs.min(axis=0), near.max(axis=0))

    def scale(self, costs: FloatArray) -> FloatArray:
        """Return costs with 0 at ``best`` and 1 at ``worst``.

        Where these are equal, the unit is their absolute value, or 1 when they are 0.
        """
        extent = self.worst - self.best
        unit = np.where(self.worst == 0, 1.0, np.abs(self.worst))
        return (costs - self.best) / np.where(extent > 0, extent, unit)

    @property
    def reference(self) -> FloatArray:
        """The reference point, in scaled costs."""
        return np.full(len(self.best), pareto.REFERENCE)

    def hypervolume(self, costs: FloatArray) -> float:
        """Return the hypervolume of ``(n, m)`` costs, as a multiple of the box."""
        return pareto.hypervolume(self.scale(costs), self.reference)

    def history(self, costs: FloatArray) -> list[float]:
        """Return the hypervolume after each row of costs in turn; what is too good to be true adds nothing."""
        front = GrowingFront(self)
        rows = zip(costs, are_credible(costs), strict=True)
        return [front.add(row) if believed else front.hypervolume for row, believed in rows]


@final
class GrowingFront:
    """Hypervolume of costs that come one by one. Dominated costs need a comparison alone, and no computation.

    It never falls, not even by the error of an approximation.

    Args:
        box: Box to measure in.
    """

    def __init__(self, box: ReferenceBox) -> None:
        self.box = box
        self._members = np.zeros((0, len(box.best)))
        self.hypervolume = 0.0

    def add(self, cost: FloatArray) -> float:
        """Add ``(m,)`` costs and return the hypervolume with them."""
        if not (self._members <= cost).all(axis=1).any():
            # What the new member dominates is left out, so that the exact computation stays small.
            kept = self._members[~(cost <= self._members).all(axis=1)]
            self._members = np.concatenate([kept, cost[None]])
            self.hypervolume = max(self.hypervolume, self.box.hypervolume(self._members))
        return self.hypervolume


def read_box(study: Study) -> ReferenceBox | None:
    """Return the study's box and write nothing; None before :func:`reference_box` has made it."""
    stored = study.user_attrs.get(REFERENCE)
    return None if stored is None else ReferenceBox(np.array(stored[0]), np.array(stored[1]))


def reference_box(study: Study, objectives: Sequence[Objective]) -> ReferenceBox | None:
    """Return the study's box; made and stored at the tenth finished evaluation, None before."""
    box = read_box(study)
    if box is None:
        trials = complete_trials(study)[:_NUM_FOR_REFERENCE]
        if len(trials) < _NUM_FOR_REFERENCE:
            return None
        box = ReferenceBox.around(credible(costs_of(objectives, trials)))
        study.set_user_attr(REFERENCE, [box.best.tolist(), box.worst.tolist()])
    return box
