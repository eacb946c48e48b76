"""Which few models of a finished run serve several devices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nas.errors import ObjectiveError
from nas.front import ModelSet, sets_for_devices
from nas.objective import Objective
from nas.report.results import FILE_BYTES, Results, Variant
from nas.report.tables import Table, choose_unit, format_value, label
from nas.space import FloatArray

_LATENCY = "latency_ms"
Model = tuple[str, Variant]
"""Id of the winner and one of its variants."""


@final
@dataclass(frozen=True)
class DeviceSet:
    """Models that keep every device within some points of the best that it can run.

    Args:
        quality: What is best.
        points: How much of it a device may lose: percentage points of a rate, else in its unit.
        devices: Each column with the largest value that the device bears.
        models: The final front.
        sets: The best set of one model, of two, and so on; the last one is enough.
    """

    quality: Objective
    points: float
    devices: tuple[tuple[Objective, float], ...]
    models: tuple[Model, ...]
    sets: tuple[ModelSet, ...]

    def sentence(self) -> str:
        """Return what the set is."""
        enough = self.sets[-1]
        names = ", ".join(self._name(row) for row in enough.rows)
        many = "1 model keeps" if len(enough.rows) == 1 else f"{len(enough.rows)} models keep"
        greedy = "" if enough.is_exact else " (built up model by model: a smaller set may do)"
        return f"{many} every device within {self._format_loss(self.points)} of its own best{greedy}: {names}"

    def devices_table(self) -> Table:
        """Return what each device gets."""
        enough, best = self.sets[-1], self._own_best()
        rows = [
            [
                label(objective.name),
                format_value(limit, objective),
                f"{self._name(best[at])}, {self._quality(best[at])}",
                f"{self._name(enough.chosen[at])}, {self._quality(enough.chosen[at])}",
                format_value(self._value(enough.chosen[at], objective), objective),
                self._format_loss(self._points(enough.lost[at])),
            ]
            for at, (objective, limit) in enumerate(self.devices)
        ]
        return Table(["device", "limit", "its own best", "of the set", "measured", "lost"], rows)

    def sizes_table(self) -> Table:
        """Return what sets of each size lose at most."""
        rows = []
        for one in self.sets:
            unserved = sum(map(math.isinf, one.lost))
            worst = (
                f"{unserved} without a model" if unserved else self._format_loss(self._points(max(one.lost)))
            )
            rows.append([str(len(one.rows)), ", ".join(self._name(row) for row in one.rows), worst])
        return Table(["models", "which", "a device loses at most"], rows)

    def to_json(self) -> dict[str, Any]:
        """Return the set that is enough, and what each device gets, as plain values."""
        enough, best = self.sets[-1], self._own_best()
        return {
            "points": self.points,
            "exact": enough.is_exact,
            "models": [self._describe(row) for row in enough.rows],
            "devices": [
                {
                    "objective": objective.name,
                    "limit": limit,
                    "best": self._describe(best[at]),
                    "chosen": self._describe(enough.chosen[at]),
                    "points_lost": self._points(enough.lost[at]),
                }
                for at, (objective, limit) in enumerate(self.devices)
            ],
        }

    def _own_best(self) -> list[int]:
        costs = np.array(
            [self.quality.cost(self._value(row, self.quality)) for row in range(len(self.models))]
        )
        return [
            int(
                np.argmin(
                    np.where([self._value(row, o) <= limit for row in range(len(costs))], costs, np.inf)
                )
            )
            for o, limit in self.devices
        ]

    def _value(self, row: int, objective: Objective) -> float:
        return self.models[row][1].values[objective.name].value

    def _name(self, row: int) -> str:
        return f"{self.models[row][0]} {self.models[row][1].name}"

    def _quality(self, row: int) -> str:
        return format_value(self._value(row, self.quality), self.quality)

    def _points(self, cost: float) -> float:
        return cost * _factor(self.quality, self.models)

    def _format_loss(self, points: float) -> str:
        text = f"{points:.3g}"
        in_points = "point" if text == "1" else "points"
        return (
            f"{text} {in_points if _factor(self.quality, self.models) != 1 else self.quality.unit}".rstrip()
        )

    def _describe(self, row: int) -> dict[str, object]:
        id_, variant = self.models[row]
        return {
            "model": id_,
            "variant": variant.name,
            "values": {n: m.value for n, m in variant.values.items()},
        }


def choose_device_set(results: Results, limits: Mapping[str, float], points: float) -> DeviceSet:
    """Return the smallest set of models of the final front that serves every device.

    Args:
        results: What a finished run found.
        limits: By column, the largest value that a device bears; {} for every latency, with its median on the front.
        points: How much quality each device may lose against the best model that it can run alone.

    Raises:
        ObjectiveError: a name, a limit or the points have no sense, or no model meets a limit.
    """
    if not (0 <= points < math.inf):
        raise ObjectiveError(f"the points that a device may lose are {points:g}: 0 or more are expected.")
    models = tuple((w.id, v) for w in results.winners for v in w.variants if v.on_front)
    devices = _devices(results, limits, models)
    table = np.array([[v.values[o.name].value for o, _ in devices] for _, v in models])
    fits = table <= [limit for _, limit in devices]
    for at in np.flatnonzero(~fits.any(axis=0)):
        objective, limit = devices[at]
        raise ObjectiveError(
            f"no model of the front has {objective.name} of at most {limit:g}: the lowest is "
            f"{table[:, at].min():.4g}, so raise the limit or leave the device out."
        )
    quality: FloatArray = np.array(
        [results.quality.cost(v.values[results.quality.name].value) for _, v in models]
    )
    rounding = 1e-9 * float(np.abs(quality).max())  # a loss of exactly the points is allowed
    sets = sets_for_devices(quality, fits, points / _factor(results.quality, models) + rounding)
    return DeviceSet(results.quality, points, devices, models, tuple(sets))


def _devices(
    results: Results, limits: Mapping[str, float], models: tuple[Model, ...]
) -> tuple[tuple[Objective, float], ...]:
    columns = {o.name: o for o in [*results.objectives[1:], FILE_BYTES] if o.direction == "minimize"}
    for name, limit in limits.items():
        if name not in columns:
            raise ObjectiveError(f"there is no column {name!r} to limit: choose among {list(columns)}.")
        if math.isnan(limit):
            raise ObjectiveError(f"the limit of {name!r} is {limit}: a number is expected.")
    if limits:
        return tuple((columns[name], limit) for name, limit in limits.items())
    latencies = [o for name, o in columns.items() if name.startswith(_LATENCY)]
    if not latencies:
        raise ObjectiveError(
            f"the run has no objective that begins with {_LATENCY!r}: name a limit of {list(columns)} for each device."
        )
    return tuple((o, float(np.median([v.values[o.name].value for _, v in models]))) for o in latencies)


def _factor(quality: Objective, models: tuple[Model, ...]) -> float:
    """Return the factor from a quality to what is printed: rates are in percent."""
    return choose_unit(quality, [v.values[quality.name].value for _, v in models])[1]
