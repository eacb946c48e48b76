"""Response-surface search: Gaussian steps from known designs, screened by a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
from numpy.typing import NDArray
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas.checks import check_integers, check_maker, check_numbers
from nas.errors import StudyError
from nas.pareto import non_dominated
from nas.search.models.cost_model import count_costs, find_measured_columns
from nas.search.models.proposals import History, any_fresh, fresh, history_of, others
from nas.search.record.credibility import credible
from nas.search.record.trials import keep_prediction, with_later
from nas.search.strategies.architecture_sampler import ArchitectureSampler
from nas.search.strategies.beside import Make, Take
from nas.space import FloatArray, IntArray, SearchSpace
from nas.strategy import MakeSurrogate, Problem, Surrogate

_POOL_SIZE = 64
"""Candidates that are predicted together, because one prediction of many is faster. The first one accepted is taken, so
nothing else depends on it."""
_NUM_POOLS = 8
"""Chosen: after so many rejections the surface holds all steps for dominated, and any of them will do."""
_MAX_LOGARITHM = 500.0
"""A float64 overflows at exp(709)."""


@final
@dataclass(frozen=True)
class ResponseSurfaceSearch:
    """Response-surface search after Smithson 2016.

    After some random designs, a candidate is a Gaussian step from a known design. The response surface
    predicts its measured costs, its counted costs are exact; it is accepted when no finished trial is
    predicted to dominate it, and otherwise with a small probability. The first accepted candidate is
    evaluated.

    A variant: the paper's details are not public to us. Here a step starts from a random member of the front
    and is taken in option positions, all choices at once; a choice whose options are not numbers has no
    order, so where it moves it moves anywhere; so does a choice that didn't matter before the step. When
    512 candidates are all rejected, the last one is taken.

    Args:
        surrogate: Makes an untrained response surface for a space; a class will do. Its deviations
            are kept with the trial but decide nothing.
        num_startup: Random designs with values before the first fit, at least 2.
        sigma: Standard deviation of a step, in option positions; a step is rounded.
        accept: Probability of taking a candidate that is predicted to be dominated.
        retrain_every: Finished trials between two fits.

    Raises:
        StudyError: a setting is out of range.
    """

    surrogate: MakeSurrogate
    num_startup: int = 10
    sigma: float = 0.7
    accept: float = 0.05
    retrain_every: int = 3

    def __post_init__(self) -> None:
        check_maker("ResponseSurfaceSearch", "surrogate", self.surrogate, "a class such as Mixture")
        check_integers(self, "num_startup", "retrain_every")
        check_numbers(self, "sigma", "accept")
        if self.num_startup < 2 or self.retrain_every < 1:
            raise StudyError(
                f"ResponseSurfaceSearch has num_startup={self.num_startup} and retrain_every={self.retrain_every}: at "
                "least 2 and 1 are needed."
            )
        if not (0 < self.sigma < float("inf") and 0 <= self.accept <= 1):
            raise StudyError(
                f"ResponseSurfaceSearch has sigma={self.sigma} and accept={self.accept}: a positive number and a "
                "probability in [0, 1] are needed."
            )

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        """Return the sampler."""
        return _Sampler(self, problem, seed)


@final
class _Sampler(ArchitectureSampler):
    """Has no state besides the study; keeps the last fit, which is a function of the trials that it was made from."""

    def __init__(self, settings: ResponseSurfaceSearch, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        self._settings = settings
        self._fitted: tuple[bytes, _ResponseSurface] | None = None
        self._is_made_beside = False
        self._newest: _ResponseSurface | None = None
        self._num_due = settings.num_startup

    def to_make(self, study: Study, in_flight: int) -> Make | None:
        """Return the fit of the next surface, once enough trials have finished since the last one.

        Steps are screened by the newest surface that is ready; until there is one, proposals are random designs.
        """
        self._is_made_beside = True
        history = history_of(self._problem, with_later(study, study.get_trials(deepcopy=False)))
        count = len(history.finished)
        if count < self._num_due:
            return None
        self._num_due = count + self._settings.retrain_every
        return partial(self._make, history.finished, credible(history.costs))

    def _make(self, rows: IntArray, costs: FloatArray) -> Take:
        surface = self._fit(rows, costs)

        def take() -> None:
            self._newest = surface

        return take

    def propose(self, study: Study, trial: FrozenTrial) -> IntArray | None:
        """Return a random design at first, then the first step that is accepted."""
        history = history_of(self._problem, others(study, trial))
        rng = np.random.default_rng([self._seed, trial.number])
        surface = self._newest if self._is_made_beside else self._surface_of(history)
        if surface is None:
            return any_fresh(self._problem, history.seen, rng)
        row = self._accept(history, surface, rng)
        if row is not None:
            keep_prediction(study, trial, surface.describe_prediction(row), surface.num_learned)
        return row

    def _accept(
        self, history: History, surface: _ResponseSurface, rng: np.random.Generator
    ) -> IntArray | None:
        settings, problem = self._settings, self._problem
        known = surface.comparable(credible(history.costs))
        front = non_dominated(known)
        candidates = history.finished[:0]
        for _ in range(_NUM_POOLS):
            bases = rng.choice(history.finished[front], size=_POOL_SIZE)
            candidates = fresh(
                problem, gaussian_steps(problem.space, bases, settings.sigma, rng), history.seen
            )
            lucky = rng.random(len(candidates)) < settings.accept
            if not len(candidates):
                continue
            accepted = lucky | ~_find_dominated(surface.predict(candidates), known[front])
            if accepted.any():
                return np.asarray(candidates[np.argmax(accepted)])
        return np.asarray(candidates[-1]) if len(candidates) else any_fresh(problem, history.seen, rng)

    def _surface_of(self, history: History) -> _ResponseSurface | None:
        """Return the surface for a history, fitted once; None if the history is too short."""
        settings = self._settings
        count = len(history.finished)
        if count < settings.num_startup:
            return None
        count -= (count - settings.num_startup) % settings.retrain_every
        rows, costs = history.finished[:count], credible(history.costs[:count])
        content = rows.tobytes() + costs.tobytes()
        if self._fitted is None or self._fitted[0] != content:
            self._fitted = content, self._fit(rows, costs)
        return self._fitted[1]

    def _fit(self, rows: IntArray, costs: FloatArray) -> _ResponseSurface:
        rng = np.random.default_rng([self._seed, len(rows)])
        surrogate = self._settings.surrogate(self._problem.space)
        return _ResponseSurface(self._problem, surrogate, rows, costs, rng)


@final
class _ResponseSurface:
    """Predicts measured costs, and counts the others.

    Costs that are positive throughout are learned and compared as logarithms: dominance is the same.
    """

    def __init__(
        self,
        problem: Problem,
        surrogate: Surrogate,
        rows: IntArray,
        costs: FloatArray,
        rng: np.random.Generator,
    ) -> None:
        self.num_learned = len(rows)
        self._problem = problem
        self._surrogate = surrogate
        self._measured = find_measured_columns(problem, rows)
        is_measured = np.isin(np.arange(costs.shape[1]), self._measured)
        self._positive: NDArray[np.bool_] = np.asarray((costs > 0).all(axis=0)) & is_measured
        if self._measured:
            learned = self.comparable(costs)[:, self._measured]
            surrogate.fit(rows, learned, rng)

    def comparable(self, costs: FloatArray) -> FloatArray:
        """Return costs on the scales that predictions are on; the same order in every column."""
        floor = np.finfo(np.float64).tiny  # a later cost may be 0 or less
        return np.where(self._positive, np.log(np.maximum(costs, floor)), costs)

    def predict(self, rows: IntArray) -> FloatArray:
        predicted = count_costs(self._problem, rows)
        if self._measured:
            predicted[:, self._measured] = self._surrogate.predict(rows).mean
        return predicted

    def describe_prediction(self, row: IntArray) -> dict[str, list[float]]:
        """Return, by measured objective, the value predicted and those a standard deviation to either side."""
        if not self._measured:
            return {}
        predicted = self._surrogate.predict(row[None])
        positive = self._positive[self._measured]
        scores = predicted.mean + np.array([[0.0], [-1.0], [1.0]]) * predicted.std
        costs = np.where(positive, np.exp(np.minimum(scores, _MAX_LOGARITHM)), scores)
        measured = [self._problem.objectives[column] for column in self._measured]
        return {o.name: [o.cost(float(c)) for c in costs[:, position]] for position, o in enumerate(measured)}


def _find_dominated(costs: FloatArray, front: FloatArray) -> NDArray[np.bool_]:
    """Return which rows some row of ``front`` dominates or equals."""
    worse: NDArray[np.bool_] = np.all(front[None] <= costs[:, None], axis=2)
    return np.asarray(worse.any(axis=1))


def gaussian_steps(space: SearchSpace, rows: IntArray, sigma: float, rng: np.random.Generator) -> IntArray:
    """Return ``(n, num_choices)`` canonical positions, each a rounded Gaussian step from its row.

    Args:
        space: Space that the rows are of.
        rows: ``(n, num_choices)`` positions to step from.
        sigma: Standard deviation, in option positions.
        rng: Draws the steps.
    """
    ordered = np.array(
        [
            all(isinstance(o, int | float) and not isinstance(o, bool) for o in c.options)
            for c in space.choices
        ]
    )
    steps = np.rint(rng.normal(0.0, sigma, size=rows.shape)).astype(np.int64)
    anywhere = rng.integers(0, space.num_options, size=rows.shape)
    stepped = np.clip(rows + steps, 0, space.num_options - 1)
    moved = np.where(ordered, stepped, np.where(steps != 0, anywhere, rows))
    return space.canonical(np.where(space.active(rows), moved, anywhere))
