"""A part of a problem as a problem of its own: some choices free, the others from a list of designs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas.choices import Choice
from nas.space import Condition, FloatArray, IntArray, SearchSpace
from nas.strategy import Problem

BASE = "two_stage.base"
"""Name of the choice among the designs."""

_Conjunctions = tuple[tuple[Condition, ...], ...]


@final
class SubProblem:
    """The architectures that agree with one of ``bases`` in all choices but the free ones.

    The sub-problem's space has the free choices, under the conditions that the whole space puts on them, and
    one more choice, first: which base. Two bases that are the same architecture under some free options are one
    there, the earlier; the other violates the constraints.

    Args:
        full: The whole problem.
        bases: ``(k, num_choices)`` positions, k >= 1.
        free: Columns of the free choices.

    Attributes:
        full: The whole problem.
        problem: The part.
    """

    def __init__(self, full: Problem, bases: IntArray, free: IntArray) -> None:
        self.full = full
        self._free = free
        self._fixed = np.setdiff1d(np.arange(bases.shape[1]), free)
        kept = np.sort(np.unique(bases[:, self._fixed], axis=0, return_index=True)[1])
        self._bases = bases[kept]
        self.problem = Problem(
            space=self._space(),
            objectives=full.objectives,
            count=self._count,
            violation=self._violation,
            soft_limits=full.soft_limits,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SubProblem) or self.full is not other.full:
            return False
        return np.array_equal(self._free, other._free) and np.array_equal(self._bases, other._bases)

    __hash__ = None  # type: ignore[assignment]

    def expand(self, rows: IntArray) -> IntArray:
        """Return ``(n, num_choices)`` canonical positions in the whole space."""
        whole = self._bases[rows[:, 0]].copy()
        whole[:, self._free] = rows[:, 1:]
        return self.full.space.canonical(whole)

    def project(self, rows: IntArray) -> IntArray:
        """Undo :meth:`expand`; a row of -1 for what is not in the sub-problem.

        Args:
            rows: ``(n, num_choices)`` positions in the whole space.
        """
        rows = self.full.space.canonical(rows)
        parts = np.full((len(rows), 1 + len(self._free)), -1, dtype=np.int64)
        # Backwards, so that an architecture that several bases hold belongs to the earliest.
        for number in range(len(self._bases) - 1, -1, -1):
            part = np.insert(rows[:, self._free], 0, number, axis=1)
            inside = (self.expand(part) == rows).all(axis=1)
            parts[inside] = part[inside]
        return parts

    def holds(self, rows: IntArray) -> NDArray[np.bool_]:
        """Return which ``(n, num_choices)`` positions in the whole space are in the sub-problem."""
        return self.project(rows)[:, 0] >= 0

    def _count(self, rows: IntArray) -> Mapping[str, FloatArray]:
        return self.full.count(self.expand(rows))

    def _violation(self, rows: IntArray) -> FloatArray:
        whole = self.expand(rows)
        violation = self.full.violation(whole)
        if not self.full.space.conditions or len(self._bases) == 1:
            return violation
        return np.asarray(violation + (self.project(whole)[:, 0] != rows[:, 0]), dtype=np.float64)

    def _space(self) -> SearchSpace:
        names = [choice.name for choice in self.full.space.choices]
        free = {names[column] for column in self._free}
        conditions = {name: self._conjunctions(name, free) for name in names if name in free}
        return SearchSpace(
            (Choice(BASE, tuple(range(len(self._bases)))), *(self.full.space.choices[c] for c in self._free)),
            {name: alternatives for name, alternatives in conditions.items() if alternatives != ((),)},
        )

    def _conjunctions(self, name: str, free: set[str]) -> _Conjunctions:
        """Return when a choice matters, as alternatives about the base and the free choices alone."""
        if name not in self.full.space.conditions:
            return ((),)
        found: list[tuple[Condition, ...]] = []
        for alternative in self.full.space.conditions[name]:
            parts = [self._translate(condition, free) for condition in alternative]
            found += [tuple(itertools.chain(*chosen)) for chosen in itertools.product(*parts)]
        return tuple(found)

    def _translate(self, condition: Condition, free: set[str]) -> _Conjunctions:
        if condition.choice in free:
            return ((condition,),)
        column = [choice.name for choice in self.full.space.choices].index(condition.choice)
        allowed = [self.full.space[condition.choice].index(option) for option in condition.options]
        bases = tuple(np.flatnonzero(np.isin(self._bases[:, column], allowed)).tolist())
        if not bases:
            return ()
        holds = Condition(BASE, bases)
        return tuple((holds, *when) for when in self._conjunctions(condition.choice, free))
