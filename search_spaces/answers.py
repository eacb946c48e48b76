"""A space whose answers are known beforehand, and so how near to the front a search came.

:class:`search_spaces.tabular.EvaluatedSpace` lists every architecture; what answers from a model needs no list
(Siems 2020).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nas import pareto
from nas.errors import ObjectiveError, SpaceError
from nas.objective import Measurement, Objective
from nas.space import Architecture, FloatArray, IntArray, SearchSpace
from nas.strategy import Problem


class Answers(ABC):
    """Answers for every architecture of a space; each has a number, its row.

    ::

        problem = answers.problem()
        sampler = strategy.sampler(problem, seed=0)
        study = optuna.create_study(directions=[o.direction for o in answers.objectives], sampler=sampler)
        search(study, problem, answers.evaluate, evaluations=100, on_trial=print)
        answers.hypervolume_ratio(answers.rows(indices_of(answers.space, complete_trials(study))))
    """

    name: str
    space: SearchSpace
    objectives: tuple[Objective, ...]
    counted: frozenset[str]

    @property
    @abstractmethod
    def num_architectures(self) -> int:
        """How many different ones there are."""

    @abstractmethod
    def rows(self, indices: IntArray) -> IntArray:
        """Return the rows of ``(k, num_choices)`` positions, canonical or not.

        Raises:
            SpaceError: a position is beyond its choice's options.
        """

    @abstractmethod
    def values_at(self, rows: IntArray) -> FloatArray:
        """Return the values of ``(k,)`` rows, ``(k, m)``."""

    @abstractmethod
    def read_counted(self, rows: IntArray) -> Mapping[str, FloatArray]:
        """Return what may be known beforehand of ``(k,)`` rows, by objective."""

    @abstractmethod
    def hide_counted(self) -> Self:
        """Return the same answers with nothing known beforehand: all columns must be learned."""

    @abstractmethod
    def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
        """Return the architecture's measurements by objective name.

        Raises:
            SpaceError: it is not in the space.
        """

    @property
    @abstractmethod
    def true_front(self) -> IntArray:
        """Rows that no other row dominates, one of equal ones."""

    @property
    @abstractmethod
    def extent(self) -> tuple[FloatArray, FloatArray]:
        """Costs that are 0 and 1 when scaled, ``(m,)`` each."""

    def problem(self) -> Problem:
        """Return what a strategy sees: the space, the objectives, the counted columns; no constraint."""

        def count(indices: IntArray) -> Mapping[str, FloatArray]:
            return self.read_counted(self.rows(indices))

        return Problem(self.space, self.objectives, count, lambda indices: np.zeros(len(indices)))

    def costs_at(self, rows: IntArray) -> FloatArray:
        """Return the values of ``(k,)`` rows to be minimised, ``(k, m)``."""
        signs = np.array([objective.cost(1.0) for objective in self.objectives])
        return np.asarray(self.values_at(rows) * signs)

    @cached_property
    def front_hypervolume(self) -> float:
        """Hypervolume of the true front, in scaled costs with 1 in every objective as reference point."""
        return self._hypervolume(self.costs_at(self.true_front))

    def hypervolume_ratio(self, rows: IntArray) -> float:
        """Return the share of the true front's hypervolume that these rows have; 1 is all.

        Both in scaled costs, with 1 in every objective as reference point: the ends of the ranges add nothing.

        Raises:
            ObjectiveError: the true front consists of such ends alone, so there is nothing to share.
        """
        return self._ratio(self.costs_at(rows))

    def hypervolume_history(self, rows: IntArray) -> FloatArray:
        """Return the hypervolume ratio after each of ``(k,)`` rows in turn."""
        ratios: list[float] = []
        front = np.zeros((0, len(self.objectives)))
        for costs in self.costs_at(rows):
            if ratios and (front <= costs).all(axis=1).any():
                ratios.append(ratios[-1])
                continue
            front = np.vstack([front, costs])
            front = front[pareto.non_dominated(front)]
            ratios.append(self._ratio(front))
        return np.array(ratios)

    def measure_found_share(self, rows: IntArray) -> float:
        """Return the share of the true front's points that these rows hold, by their costs."""
        found = {cost.tobytes() for cost in self.costs_at(rows)}
        return float(np.mean([cost.tobytes() in found for cost in self.costs_at(self.true_front)]))

    def adrs(self, rows: IntArray) -> float:
        """Return how far these rows are from the true front, relative: see :func:`nas.pareto.adrs`."""
        return pareto.adrs(self.costs_at(rows), self.costs_at(self.true_front))

    def igd_plus(self, rows: IntArray) -> float:
        """Return how far these rows are from the true front in scaled costs: :func:`nas.pareto.igd_plus`."""
        return pareto.igd_plus(self._scale(self.costs_at(rows)), self._scale(self.costs_at(self.true_front)))

    def _scale(self, costs: FloatArray) -> FloatArray:
        """Return costs with 0 and 1 at the extent's ends; a constant column is 0."""
        low, high = self.extent
        return (costs - low) / np.where(high > low, high - low, 1.0)

    def _hypervolume(self, costs: FloatArray) -> float:
        return pareto.hypervolume(self._scale(costs), np.ones(len(self.objectives)))

    def _ratio(self, costs: FloatArray) -> float:
        if self.front_hypervolume == 0:
            raise ObjectiveError(
                f"the true front of table {self.name!r} has no hypervolume, because each of its points is the worst "
                "in some objective: compare by measure_found_share."
            )
        return self._hypervolume(costs) / self.front_hypervolume


def architecture_numbers(space: SearchSpace, indices: IntArray) -> NDArray[Any]:
    """Return one number per row of positions, the same for all that stand for one architecture.

    Raises:
        SpaceError: a position is beyond its choice's options.
    """
    if indices.ndim != 2 or indices.shape[1] != len(space.choices):
        raise SpaceError(
            f"positions have the shape {indices.shape}: expected (n, {len(space.choices)}), a column per choice."
        )
    beyond = (indices < 0) | (indices >= space.num_options)
    if beyond.any():
        row, column = np.argwhere(beyond)[0]
        raise SpaceError(
            f"row {row} has position {indices[row, column]} for {space.choices[column]}, whose positions are 0 to "
            f"{space.num_options[column] - 1}."
        )
    return space.combination_numbers(space.canonical(indices))
