"""An Optuna sampler that proposes whole architectures."""

from __future__ import annotations

import contextlib
import functools
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, final

import numpy as np
import torch
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from threadpoolctl import ThreadpoolController

from nas.search.models.proposals import History, history_of, others
from nas.search.record.trials import NOTHING_LEFT, distributions
from nas.search.strategies.beside import Make
from nas.space import IntArray
from nas.strategy import Problem

_is_on_one_thread = False


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within, numpy, scipy and torch compute on one core.

    Their matrices are small here; threads that wait for each other on a busy machine make a fit ten times slower.
    """
    global _is_on_one_thread
    if _is_on_one_thread:
        yield
        return
    before, _is_on_one_thread = torch.get_num_threads(), True
    torch.set_num_threads(1)
    try:
        with _thread_pools().limit(limits=1):
            yield
    finally:
        _is_on_one_thread = False
        torch.set_num_threads(before)


@functools.cache
def _thread_pools() -> ThreadpoolController:
    """Return the thread pools of the loaded libraries; cached, because finding them takes as long as a small fit."""
    return ThreadpoolController()


class ArchitectureSampler(BaseSampler):
    """Proposes all choices of a space together.

    Args:
        problem: What is searched.
        seed: For parameters that are not in the space.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._seed = seed
        self._independent = RandomSampler(seed=seed)

    @abstractmethod
    def propose(self, study: Study, trial: FrozenTrial) -> IntArray | None:
        """Return ``(num_choices,)`` positions, not seen and feasible, for a trial; None if none is found."""

    def to_make(self, study: Study, in_flight: int) -> Make | None:
        """Return a computation to run in a thread while the search asks for more proposals; None if there is none.

        It is called before each proposal, if several evaluations run at a time and the last computation has ended.

        Args:
            study: The sampler's study; not for use in the thread.
            in_flight: How many evaluations run at a time.
        """
        return None

    @final
    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space: all choices are proposed together."""
        return distributions(self._problem.space)

    @final
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the options of one architecture, or nothing, with a note, when none is left to propose."""
        with one_thread():
            row = self.propose(study, trial)
        if row is None:
            study._storage.set_trial_system_attr(trial._trial_id, NOTHING_LEFT, True)
            return {}
        return dict(self._problem.space.from_indices(row[None])[0])

    @final
    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Sample a parameter that is not in the space at random."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)


Propose = Callable[[History, np.random.Generator], IntArray | None]
"""Returns ``(num_choices,)`` positions that are not seen and feasible; None if there are none left."""


@final
class HistorySampler(ArchitectureSampler):
    """A sampler around a function of the study's history and a random generator.

    It has no state besides the study. What it proposes depends on the seed, the trial's number and the
    other trials alone, so another process that reads the same storage proposes the same.

    Args:
        problem: What is searched.
        seed: Seed of the generator, together with the trial's number.
        function: Must be a function of its arguments; it may keep what it has computed from them.
    """

    def __init__(self, problem: Problem, seed: int, function: Propose) -> None:
        super().__init__(problem, seed)
        self._function = function

    def propose(self, study: Study, trial: FrozenTrial) -> IntArray | None:
        """Return what the function makes of the other trials."""
        rng = np.random.default_rng([self._seed, trial.number])
        return self._function(history_of(self._problem, others(study, trial)), rng)
