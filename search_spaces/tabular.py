"""A space whose answers are a table: every architecture's values are known, so is the true front.

A search on a table costs nothing but the optimizer's time, and how good it was can be said exactly:
by the share of the true front's hypervolume. Any strategy runs on it as on a supernet, see :class:`EvaluatedSpace`.
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
from nas.space import Architecture, FloatArray, IntArray, SearchSpace
from search_spaces.answers import Answers, architecture_numbers


@final
@dataclass(frozen=True, eq=False)
class EvaluatedSpace(Answers):
    """All architectures of a space, evaluated.

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

    @property
    def num_architectures(self) -> int:
        """How many rows there are."""
        return len(self.values)

    def values_at(self, rows: IntArray) -> FloatArray:
        """Return the values of ``(k,)`` rows, ``(k, m)``."""
        return self.values[rows]

    def read_counted(self, rows: IntArray) -> Mapping[str, FloatArray]:
        """Return the counted columns of ``(k,)`` rows."""
        return {
            o.name: self.values[rows, column]
            for column, o in enumerate(self.objectives)
            if o.name in self.counted
        }

    def hide_counted(self) -> EvaluatedSpace:
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
        return order[np.searchsorted(codes, architecture_numbers(self.space, indices))]

    @cached_property
    def costs(self) -> FloatArray:
        """Values to be minimised, ``(n, m)``."""
        return self.costs_at(np.arange(len(self.values)))

    @cached_property
    def true_front(self) -> IntArray:
        """Rows that no other row dominates, one of equal ones."""
        return np.flatnonzero(pareto.non_dominated(self.costs))

    @cached_property
    def extent(self) -> tuple[FloatArray, FloatArray]:
        """A column's best and worst costs: they are 0 and 1 when scaled."""
        return self.costs.min(axis=0), self.costs.max(axis=0)

    @cached_property
    def _codes(self) -> tuple[NDArray[Any], IntArray]:
        """Every architecture's number in the space, ascending, and its row."""
        codes = architecture_numbers(self.space, self.positions)
        order = np.argsort(codes)
        return codes[order], order


def _check_positions(table: EvaluatedSpace) -> None:
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


def _check_values(table: EvaluatedSpace) -> None:
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
