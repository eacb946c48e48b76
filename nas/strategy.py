"""What a search strategy and a surrogate must do, and what they are told.

Costs are minimised values; arrays of them have one row per architecture. ``nas.testing`` checks each contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nas.knowledge import Knowledge
from nas.objective import Objective, excess_over
from nas.pareto import find_constrained_front
from nas.space import FloatArray, IntArray, SearchSpace

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


MAX_SEED = 2**31 - 1
"""Largest seed of a study; the smallest is 0."""


@dataclass(frozen=True)
class Prediction:
    """What a surrogate believes, each ``(n, m)`` float64.

    Args:
        mean: Mean of the costs.
        std: How far the mean may be off, as a standard deviation; not how much a measurement scatters.
    """

    mean: FloatArray
    std: FloatArray

    def sample(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n, m)`` independent normal draws."""
        return self.mean + self.std * rng.standard_normal((count, *self.mean.shape))


class Surrogate(Protocol):
    """Predicts costs of architectures (= performance predictor). A class that takes the space makes one.

    Architectures come as option positions; ``SearchSpace.encode`` makes one-hot encodings of them.
    """

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        """Learn from ``(n, num_choices)`` positions and ``(n, m)`` costs, n >= 2; forgets earlier data.

        All randomness comes from ``rng``: the same data and generator state give the same model.
        Constant columns and equal rows are allowed.
        """

    def predict(self, indices: IntArray) -> Prediction:
        """Predict the costs of ``(n, num_choices)`` positions; ``std`` is positive."""

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n, m)`` joint draws of costs that are plausible.

        Architectures that are uncertain for the same reason move together. A surrogate that doesn't know
        returns ``self.predict(indices).sample(count, rng)``.
        """


MakeSurrogate = Callable[[SearchSpace], Surrogate]
"""Makes an untrained surrogate for a space; a class will do."""


@dataclass(frozen=True)
class Problem:
    """What a search strategy sees of a study.

    Args:
        space: The search space.
        objectives: In the order of a trial's values.
        count: Exact values of the counted objectives by name, of ``(n, num_choices)`` positions.
        violation: ``(n,)`` how far the hard constraints are exceeded, relative; 0 is feasible.
        soft_limits: Largest feasible cost by name of an objective that is measured.
        knowledge: What is known of architectures from elsewhere, for strategies that can use it.
    """

    space: SearchSpace
    objectives: tuple[Objective, ...]
    count: Callable[[IntArray], Mapping[str, FloatArray]]
    violation: Callable[[IntArray], FloatArray]
    soft_limits: Mapping[str, float] = field(default_factory=dict)
    knowledge: tuple[Knowledge, ...] = ()

    def infeasibility(self, indices: IntArray) -> FloatArray:
        """Return the violation of ``(n, num_choices)`` positions; infinite where a count isn't finite."""
        violation = self.violation(indices)
        known = ~np.isnan(violation)
        for values in self.count(indices).values():
            known &= np.isfinite(values)
        return np.where(known, violation, np.inf)

    def excess(self, costs: FloatArray) -> FloatArray:
        """Return how far ``(..., num_objectives)`` costs exceed the soft limits, relative; 0 is feasible."""
        return excess_over(self.soft_limits, self.objectives, costs)

    def front(self, costs: FloatArray) -> NDArray[np.bool_]:
        """Return which of ``(n, num_objectives)`` costs are on the front of those that meet the soft limits.

        Where none does, on the front of those nearest to that.
        """
        return find_constrained_front(costs, self.excess(costs))


@runtime_checkable
class Strategy(Protocol):
    """Makes the Optuna sampler that proposes architectures.

    ``repr`` goes into the study's fingerprint, so a frozen dataclass does well. The sampler must
    rebuild its state from the study alone: Optuna doesn't restore samplers.
    """

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        """Return a new sampler."""


@runtime_checkable
class LearnsFromElsewhere(Protocol):
    """A strategy that says whether its sampler uses :attr:`Problem.knowledge`; one that says nothing doesn't."""

    @property
    def uses_knowledge(self) -> bool:
        """Whether a study with earlier runs or zero-cost scores may have this strategy."""


def uses_knowledge(strategy: Strategy) -> bool:
    """Whether a strategy's sampler uses what is known from elsewhere."""
    return isinstance(strategy, LearnsFromElsewhere) and strategy.uses_knowledge
