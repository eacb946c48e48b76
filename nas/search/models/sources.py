"""Sources of knowledge about some architectures, which surrogates extend to all architectures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from nas.knowledge import Knowledge
from nas.search.models.cost_model import Scale, best_scale, find_measured_columns
from nas.space import FloatArray, IntArray
from nas.strategy import MakeSurrogate, Problem, Surrogate

_MIN_ROWS = 4
"""Rows of a source that is listened to; fewer teach a surrogate nothing."""


@final
@dataclass(frozen=True, eq=False)
class Source:
    """A source of knowledge, and a surrogate that has learned its values.

    Args:
        knowledge: The source's architectures and values.
        column: Which of the measured objectives it may predict.
        surrogate: Has learned the values, standardised on ``scale``.
        scale: Scale on which the values are most nearly a sum over the choices.
        center: Mean on that scale.
        unit: Standard deviation on that scale.
    """

    knowledge: Knowledge
    column: int
    surrogate: Surrogate
    scale: Scale
    center: float
    unit: float

    def values_at(self, said: FloatArray) -> FloatArray:
        """Return predictions of the surrogate in the unit of the values, in the same shape."""
        return self.scale.costs_at(said * self.unit + self.center)


@final
class Sources:
    """All sources of a problem's measured objectives. Each is learned once, when it is first needed.

    Args:
        problem: What is searched, with what is known from elsewhere.
        make: Makes an untrained surrogate.
    """

    def __init__(self, problem: Problem, make: MakeSurrogate) -> None:
        self._problem, self._make = problem, make
        space = problem.space
        measured = find_measured_columns(problem, space.indices([space.smallest()]))
        self._names = [problem.objectives[column].name for column in measured]
        self._heard = [
            known
            for known in problem.knowledge
            if known.objective in self._names and len(known.values) >= _MIN_ROWS and np.ptp(known.values) > 0
        ]

    @cached_property
    def all(self) -> tuple[Source, ...]:
        """The sources that may predict a measured objective."""
        return tuple(self._learn(known) for known in self._heard)

    @property
    def promise_costs(self) -> bool:
        """Whether the values of some source are costs, so that a search may follow it from the beginning."""
        return any(known.are_costs for known in self._heard)

    def ask(self, row: IntArray) -> dict[str, dict[str, float]]:
        """Return the sources' values for ``(num_choices,)`` positions, by objective and by the source's name.

        They are distances from the mean of the source's values, in standard deviations.
        """
        names = zip(self._names, self.by_column, strict=True)
        return {
            objective: {
                source.knowledge.name: float(source.surrogate.predict(row[None]).mean[0, 0]) for source in of
            }
            for objective, of in names
            if of
        }

    @property
    def by_column(self) -> list[list[Source]]:
        """The sources of each measured objective."""
        return [[source for source in self.all if source.column == c] for c in range(len(self._names))]

    def _learn(self, known: Knowledge) -> Source:
        space = self._problem.space
        scale = best_scale(space.encode(known.indices), known.values)
        scores = scale.of(known.values)
        center, unit = float(scores.mean()), float(scores.std())
        surrogate = self._make(space)
        # A seed of its own, and not the search's: what a source says must not depend on when it is asked first.
        surrogate.fit(known.indices, ((scores - center) / unit)[:, None], np.random.default_rng(0))
        return Source(known, self._names.index(known.objective), surrogate, scale, center, unit)


def ask_sources(sources: Sequence[Source], indices: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the sources' values for ``(n, num_choices)`` positions, and their deviations, each ``(n, k)``."""
    told = [source.surrogate.predict(indices) for source in sources]
    none = np.zeros((len(indices), 0))
    return (
        np.concatenate([none, *(by.mean for by in told)], axis=1),
        np.concatenate([none, *(by.std for by in told)], axis=1),
    )


def draw_from_sources(
    sources: Sequence[Source], indices: IntArray, count: int, rng: np.random.Generator
) -> FloatArray:
    """Return ``(count, n, k)`` joint draws of the sources' values."""
    draws = [source.surrogate.sample(indices, count, rng) for source in sources]
    return np.concatenate([np.zeros((count, len(indices), 0)), *draws], axis=2)
