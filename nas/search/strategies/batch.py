"""Makes a batch of proposals: gathers candidates that a model predicts to be good, and picks the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np

from nas.search.models.cost_model import CostModel
from nas.search.models.improvement import most_improving
from nas.search.models.nsga2 import evolve
from nas.search.models.proposals import History, fresh, neighbours
from nas.space import FloatArray, IntArray
from nas.strategy import Problem

_POPULATION = 96
"""Size of NSGA-II's population. Chosen, not measured: six times as many as are picked, so that the pick has a choice
along the front."""
_MAX_NEIGHBOURS = 192
"""Neighbours of the front's members among the candidates. Chosen, not measured: a pick takes longer from a larger
pool."""
_NUM_DRAWS = 24
"""Joint draws that the expected improvement is a mean of. Chosen, not measured: with few, a candidate is picked that
was lucky once; the time of a pick grows with them. What uncertainty earns at all is in ``docs/strategies.md``."""
_MIN_OBJECTIVES_FOR_TURNS = 3
"""With fewer, turns and exploration don't pay: ``docs/strategies.md``."""
_EXPLORED_EVERY = 4
"""Measured with turns in ``docs/strategies.md``; other rhythms were not tried."""
_NUM_SAMPLED = 512
"""Random architectures, a third of which are thought promising: far more than a batch takes, even under constraints."""


@final
class ProposalBatch:
    """Architectures to propose, best first, and the model's predictions of the objectives that will be measured.

    These predictions have calibrated deviations. The architectures were picked without calibration: searches that pick
    by calibrated deviations find less in their first 25 evaluations, and no more later (docs/strategies.md).
    """

    def __init__(
        self,
        problem: Problem,
        model: CostModel,
        rows: IntArray,
        told: Sequence[int],
        widening: Mapping[str, float],
    ) -> None:
        self._problem = problem
        self._model = model
        self._model.widen(widening)
        self._told = told
        self.widening = {
            o.name: widening[o.name] for column, o in enumerate(problem.objectives) if column in told
        }
        self.rows = rows

    def describe_prediction(self, row: IntArray) -> dict[str, list[float]]:
        """Return, by measured objective, the value predicted and those a standard deviation to either side."""
        return self._describe_predictions(row[None])[0]

    def describe_predictions(self) -> list[dict[str, list[float]]]:
        """Return the same for each architecture to propose."""
        return self._describe_predictions(self.rows) if len(self.rows) else []

    def _describe_predictions(self, rows: IntArray) -> list[dict[str, list[float]]]:
        costs = np.stack([self._model.at(rows, z) for z in (0.0, -1.0, 1.0)], axis=1)
        told = [(column, o) for column, o in enumerate(self._problem.objectives) if column in self._told]
        return [
            {o.name: [o.cost(float(cost)) for cost in row[:, column]] for column, o in told} for row in costs
        ]


@final
class Picker:
    """Picks what to propose. Random numbers are drawn in a fixed order, on which the proposals depend.

    Args:
        problem: What is searched.
        model: Predicts costs.
        known: The trials that it has learned from, and what must not be proposed.
        costs: ``(n, num_objectives)`` of these, as the model learned them.
        rng: Draws all that is random.
    """

    def __init__(
        self,
        problem: Problem,
        model: CostModel,
        known: History,
        costs: FloatArray,
        rng: np.random.Generator,
    ) -> None:
        self._problem, self._model, self._known, self._costs, self._rng = problem, model, known, costs, rng

    def pick(self, running: History, count: int) -> IntArray:
        """Return architectures to propose, best first, ``(n, num_choices)``.

        Args:
            running: What is being evaluated; hypervolume that it may add doesn't count for others.
            count: How many to pick; all other candidates follow behind them.
        """
        pool = self._gather_candidates()
        if not len(pool):
            return pool
        pending = np.frombuffer(b"".join(sorted(running.seen)), dtype=np.int64).reshape(-1, pool.shape[1])
        draws = self._model.draws(np.concatenate([pending, pool]), _NUM_DRAWS, self._rng)
        in_turns = self._costs.shape[1] >= _MIN_OBJECTIVES_FOR_TURNS
        picked = most_improving(
            draws[:, len(pending) :],
            self._costs,
            count,
            self._rng,
            pending=draws[:, : len(pending)],
            excess=self._problem.excess,
            in_turns=in_turns,
        )
        rest = self._rng.permutation(np.setdiff1d(np.arange(len(pool)), picked))
        excess = self._problem.excess(draws[:, len(pending) + rest]).mean(axis=0)
        rest = rest[np.argsort(excess, kind="stable")]  # those that meet the soft limits first
        rows = self._insert_random(pool[picked]) if in_turns else pool[picked]
        return np.concatenate([rows, pool[rest]])

    def _gather_candidates(self) -> IntArray:
        """Return what NSGA-II finds on optimistic predictions, and neighbours of the front, each once."""
        problem, model, seen = self._problem, self._model, self._known.seen
        evolved = evolve(
            problem,
            lambda indices: model.at(indices, -1.0),
            start=model.front,
            avoid=seen,
            size=_POPULATION,
            rng=self._rng,
        )
        beside = np.concatenate([neighbours(problem.space, row) for row in model.front])
        beside = fresh(problem, self._rng.permutation(beside)[:_MAX_NEIGHBOURS], seen)
        return np.unique(np.concatenate([evolved, beside]), axis=0)

    def _insert_random(self, rows: IntArray) -> IntArray:
        """Return the proposals with a random architecture after every third.

        Picked architectures are similar, so the model learns ever less from them about the rest of the space. Random
        ones that it predicts to be good teach it more.
        """
        sampled = self._problem.space.sample_indices(_NUM_SAMPLED, self._rng)
        sampled = fresh(self._problem, sampled, self._known.seen)
        if not len(sampled) or not self._model.measured:
            return rows
        within = self._problem.excess(self._model.at(sampled, 0.0)) <= 0
        explored = sampled[self._model.promising(sampled) & within]
        places = np.arange(_EXPLORED_EVERY - 1, len(rows), _EXPLORED_EVERY - 1)[: len(explored)]
        return np.insert(rows, places, explored[: len(places)], axis=0)
