"""Objectives and measurements as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, final

import numpy as np

from nas.errors import EvaluationError, ObjectiveError, one_line
from nas.space import FloatArray

Direction = Literal["minimize", "maximize"]
BEYOND = 1e100
"""No value and no limit is this large: no unit needs it, and products of a few, as in a hypervolume, would overflow."""


@final
@dataclass(frozen=True)
class Objective:
    """A quantity to trade off.

    Args:
        name: Carries its unit where it has one: ``latency_ms``.
        unit: As printed; empty for a rate or a count.
        direction: Which way is better. Applied once, in :meth:`cost`; everything inside is minimised.

    Raises:
        ObjectiveError: no name, one that is no text of one line, or an unknown direction.
    """

    name: str
    unit: str
    direction: Direction

    def __post_init__(self) -> None:
        for part, text in (("name", self.name), ("unit", self.unit)):
            if not isinstance(text, str) or not text.isprintable():
                raise ObjectiveError(
                    f"an objective has the {part} {text!r}: a string of one line is expected, such as 'latency_ms'."
                )
        if not self.name.strip():
            raise ObjectiveError("an objective needs a name.")
        if not isinstance(self.direction, str) or self.direction not in ("minimize", "maximize"):
            raise ObjectiveError(
                f"objective {self.name!r} has direction {self.direction!r}: use 'minimize' or 'maximize'."
            )

    def cost(self, value: float) -> float:
        """Return ``value`` as a number to minimise."""
        return value if self.direction == "minimize" else -value

    def value(self, cost: float) -> float:
        """Undo :meth:`cost`."""
        return self.cost(cost)

    def is_rate(self, values: Iterable[float]) -> bool:
        """Whether values are shares, which are shown in percent: without a unit, maximised, and from 0 to 1."""
        return self.unit == "" and self.direction == "maximize" and all(0 <= value <= 1 for value in values)


def relative_excess(values: FloatArray, at_most: float) -> FloatArray:
    """Return by how much values exceed a limit, in units of the limit; 0 where they don't."""
    return np.maximum(values - at_most, 0) / max(abs(at_most), 1e-12)


def excess_over(
    limits: Mapping[str, float], objectives: Sequence[Objective], costs: FloatArray
) -> FloatArray:
    """Return how far costs exceed limits in all, relative; 0 where all are met.

    Args:
        limits: Largest feasible cost by name of an objective.
        objectives: In the order of the costs.
        costs: ``(..., num_objectives)``.

    Returns:
        ``(...)``.
    """
    total = np.zeros(costs.shape[:-1])
    for column, objective in enumerate(objectives):
        total += relative_excess(costs[..., column], limits.get(objective.name, np.inf))
    return total


@final
@dataclass(frozen=True)
class Measurement:
    """A value and how far to trust it.

    Args:
        value: In ``unit``.
        spread: One standard deviation of ``value``, same unit; 0 for an exact count.
        unit: As on the objective.
        device: What it was measured on; empty for an exact count.
        repeats: How many observations stand behind ``value``.

    Numbers may be scalars of numpy or torch; they are kept as Python's.

    Raises:
        ObjectiveError: value, spread or repeats is no number.
    """

    value: float
    spread: float
    unit: str
    device: str
    repeats: int

    def __post_init__(self) -> None:
        for name, kind in (("value", float), ("spread", float), ("repeats", int)):
            given = getattr(self, name)
            try:
                if isinstance(given, (str, bytes)):
                    raise TypeError("it is text")
                object.__setattr__(self, name, kind(given))
            except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last is torch's
                raise ObjectiveError(
                    f"the {name} of a measurement is of type {type(given).__name__} ({one_line(error)}): give a number."
                ) from error

    def check_unit(self, name: str) -> Measurement:
        """Return self.

        Raises:
            EvaluationError: value or spread is not a finite number, or too large to calculate with; unit or device is
                no text.
        """
        for text in (self.unit, self.device):
            if not isinstance(text, str):
                raise EvaluationError(
                    f"objective {name!r} gave the unit {self.unit!r} and the device {self.device!r}; strings are "
                    "expected."
                )
        if not (abs(self.value) < BEYOND and abs(self.spread) < BEYOND):  # which no NaN is either
            raise EvaluationError(
                f"objective {name!r} gave {self.value} (spread {self.spread}); a finite number is expected, "
                f"closer to 0 than {BEYOND:g}."
            )
        return self

    def to_json(self) -> dict[str, float | str | int]:
        """Return plain values."""
        return asdict(self)


def combine_measurements(measurements: Sequence[Measurement]) -> Measurement:
    """Return what measurements of the same thing say together; one alone is returned as it is.

    Their mean, each weighted by its repeats: spreads that were estimated from few blocks make poor weights. The spread
    is that of the mean of independent measurements, but not below what the differences between them tell, which hold
    what no single one sees (as by the scale factor of Birge 1932).

    Args:
        measurements: One at least, in one unit and of one device.
    """
    first = measurements[0]
    if len(measurements) == 1:
        return first
    weights = np.array([max(1, m.repeats) for m in measurements]) / sum(
        max(1, m.repeats) for m in measurements
    )
    values, spreads = np.array([[m.value, m.spread] for m in measurements]).T
    value = float(weights @ values)
    within = float(np.linalg.norm(weights * spreads))
    between = math.sqrt(float(weights @ (values - value) ** 2) / (len(measurements) - 1))
    return Measurement(
        value, max(within, between), first.unit, first.device, sum(m.repeats for m in measurements)
    )
