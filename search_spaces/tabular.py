"""A space whose answers are a table: every architecture's values are known, so is the true front.

A search on a table costs nothing but the optimizer's time, and how good it was can be said exactly:
by the share of the true front's hypervolume. Any strategy runs on it as on a supernet, see :class:`Table`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nas import pareto
from nas.errors import ObjectiveError, SpaceError
from nas.objective import Measurement, Objective
from nas.protocols import Problem
from nas.space import Architecture, FloatArray, IntArray, SearchSpace


@final
@dataclass(frozen=True, eq=False)
class Table:
    """All architectures of a space, evaluated.

    ::

        problem = table.problem()
        sampler = strategy.sampler(problem, seed=0)
        study = optuna.create_study(directions=[o.direction for o in table.objectives], sampler=sampler)
        search(study, problem, table.evaluate, evaluations=100, on_trial=print)
        table.hypervolume_ratio(table.rows(indices_of(table.space, complete_trials(study))))

    Args:
        name: For reports and as the measurements' device.
        space: May be conditional.
        objectives: In the order of the columns of ``values``.
        positions: ``(n, num_choices)`` option positions, one row per architecture, in any order.
        values: ``(n, m)`` float64, finite.
        counted: Names of the objectives that a strategy may know beforehand, as it knows FLOPs.
        spread: ``(n, m)`` standard deviations of ``values``; None for 0.
        repeats: How many observations stand behind a value that is not counted.

    Raises:
        SpaceError: an architecture is missing, listed twice, or not in the space.
        ObjectiveError: values or spread don't fit the objectives or are not finite, or ``counted`` names
            none of them.
    """

    name: str
    space: SearchSpace
    objectives: tuple[Objective, ...]
    positions: IntArray
    values: FloatArray
    counted: frozenset[str] = frozenset()
    spread: FloatArray | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        _check_values(self)
        _check_positions(self)

    def problem(self) -> Problem:
        """Return what a strategy sees: the space, the objectives, the counted columns; no constraint."""
        counted = {o.name: column for column, o in enumerate(self.objectives) if o.name in self.counted}

        def count(indices: IntArray) -> Mapping[str, FloatArray]:
            rows = self.rows(indices)
            return {name: self.values[rows, column] for name, column in counted.items()}

        return Problem(self.space, self.objectives, count, lambda indices: np.zeros(len(indices)))

    def all_measured(self) -> Table:
        """Return the same table with nothing known beforehand: all columns must be learned."""
        return dataclasses.replace(self, counted=frozenset())

    def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
        """Return the architecture's measurements by objective name.

        Raises:
            SpaceError: it is not in the space.
        """
        row = int(self.rows(self.space.indices([architecture]))[0])
        found = {}
        for column, objective in enumerate(self.objectives):
            counted = objective.name in self.counted
            found[objective.name] = Measurement(
                value=float(self.values[row, column]),
                spread=0.0 if self.spread is None else float(self.spread[row, column]),
                unit=objective.unit,
                device="" if counted else self.name,
                repeats=1 if counted else self.repeats,
            )
        return found

    def rows(self, indices: IntArray) -> IntArray:
        """Return where ``(k, num_choices)`` positions, canonical or not, stand in the table.

        Raises:
            SpaceError: a position is beyond its choice's options.
        """
        codes, order = self._codes
        return order[np.searchsorted(codes, _codes(self.space, indices))]

    @cached_property
    def costs(self) -> FloatArray:
        """Values to be minimised, ``(n, m)``."""
        signs = np.array([objective.cost(1.0) for objective in self.objectives])
        return np.asarray(self.values * signs)

    @cached_property
    def scaled(self) -> FloatArray:
        """Costs with 0 at a column's best and 1 at its worst, ``(n, m)``; a constant column is 0."""
        extent = np.ptp(self.costs, axis=0)
        return np.asarray((self.costs - self.costs.min(axis=0)) / np.where(extent > 0, extent, 1.0))

    @cached_property
    def true_front(self) -> IntArray:
        """Rows that no other row dominates, one of equal ones."""
        return np.flatnonzero(pareto.non_dominated(self.costs))

    @cached_property
    def front_hypervolume(self) -> float:
        """Hypervolume of the true front, in scaled costs with 1 in every objective as reference point."""
        return self._hypervolume(self.true_front)

    def hypervolume_ratio(self, rows: IntArray) -> float:
        """Return the share of the true front's hypervolume that these rows of the table have; 1 is all.

        Both in scaled costs, with 1 in every objective as reference point: the ends of the table's
        ranges add nothing.

        Raises:
            ObjectiveError: the true front consists of such ends alone, so there is nothing to share.
        """
        if self.front_hypervolume == 0:
            raise ObjectiveError(
                f"the true front of table {self.name!r} has no hypervolume, because each of its points is the worst "
                "in some objective: judge by found_share."
            )
        return self._hypervolume(rows) / self.front_hypervolume

    def hypervolume_history(self, rows: IntArray) -> FloatArray:
        """Return the hypervolume ratio after each of ``(k,)`` rows in turn."""
        ratios: list[float] = []
        front = rows[:0]
        for row in rows:
            if ratios and (self.costs[front] <= self.costs[row]).all(axis=1).any():
                ratios.append(ratios[-1])
                continue
            front = np.append(front, row)
            front = front[pareto.non_dominated(self.costs[front])]
            ratios.append(self.hypervolume_ratio(front))
        return np.array(ratios)

    def found_share(self, rows: IntArray) -> float:
        """Return the share of the true front's points that these rows hold, by their costs."""
        found = {cost.tobytes() for cost in self.costs[rows]}
        return float(np.mean([cost.tobytes() in found for cost in self.costs[self.true_front]]))

    def adrs(self, rows: IntArray) -> float:
        """Return how far these rows are from the true front, relative: see :func:`nas.pareto.adrs`."""
        return pareto.adrs(self.costs[rows], self.costs[self.true_front])

    def igd_plus(self, rows: IntArray) -> float:
        """Return how far these rows are from the true front in scaled costs: :func:`nas.pareto.igd_plus`."""
        return pareto.igd_plus(self.scaled[rows], self.scaled[self.true_front])

    def _hypervolume(self, rows: IntArray) -> float:
        return pareto.hypervolume(self.scaled[rows], np.ones(len(self.objectives)))

    @cached_property
    def _codes(self) -> tuple[NDArray[Any], IntArray]:
        """Every architecture's number in the space, ascending, and its row."""
        codes = _codes(self.space, self.positions)
        order = np.argsort(codes)
        return codes[order], order


def _codes(space: SearchSpace, indices: IntArray) -> NDArray[Any]:
    """Return one number per row of positions, the same for all that stand for one architecture."""
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


def _check_positions(table: Table) -> None:
    if len(table.positions) != len(table.values):
        raise SpaceError(
            f"table {table.name!r} has {len(table.positions)} rows of positions and {len(table.values)} of "
            "values: give one of each per architecture."
        )
    cardinality = table.space.cardinality()
    if len(table.positions) != cardinality:
        raise SpaceError(
            f"table {table.name!r} has {len(table.positions)} rows and its space {cardinality} architectures: a "
            "table answers for all of them, once each."
        )
    codes, order = table._codes
    repeated = np.flatnonzero(codes[1:] == codes[:-1])
    if len(repeated):
        first, second = sorted(order[repeated[0] : repeated[0] + 2].tolist())
        raise SpaceError(
            f"table {table.name!r} lists one architecture twice, in rows {first} and {second} (inactive choices "
            "make no difference): keep one, and add the one that is missing."
        )


def _check_values(table: Table) -> None:
    names = [objective.name for objective in table.objectives]
    unknown = sorted(table.counted - set(names))
    if unknown or not names or len(set(names)) < len(names):
        raise ObjectiveError(
            f"table {table.name!r} has the objectives {names} and counts {sorted(table.counted)}: at least one "
            "objective, different names, and counted ones among them are needed."
        )
    for what, array in (("values", table.values), ("spread", table.spread)):
        if array is None:
            continue
        expected = (len(table.values), len(names))
        if array.shape != expected:
            raise ObjectiveError(
                f"table {table.name!r} has {what} of shape {array.shape}: expected {expected}."
            )
        if not np.isfinite(array).all():
            row, column = np.argwhere(~np.isfinite(array))[0]
            raise ObjectiveError(
                f"table {table.name!r} has {what} {array[row, column]} in row {row} for {names[column]!r}: drop "
                "the objective or fill it in; a finite number is expected."
            )
