"""Pareto local search: the neighbours of the front, until all of them are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from optuna.samplers import BaseSampler

from nas.checks import check_integers
from nas.errors import StudyError
from nas.pareto import non_dominated
from nas.search.models.proposals import History, any_fresh, fresh, neighbours
from nas.search.record.credibility import credible
from nas.search.strategies.architecture_sampler import HistorySampler
from nas.space import IntArray
from nas.strategy import Problem


@final
@dataclass(frozen=True)
class LocalSearch:
    """Pareto local search (Paquete 2004), which needs no model and hardly any time.

    A neighbour differs in one choice. A front member is explored when all its feasible neighbours are
    known. Each proposal is a random unknown neighbour of the *oldest* front member that is not explored;
    a member that is no longer on the front is left as it is. When the whole front is explored, a random
    architecture is proposed, until one joins the front.

    Args:
        num_startup: Random architectures to begin with, at least 1.

    Raises:
        StudyError: a setting is out of range.
    """

    num_startup: int = 10

    def __post_init__(self) -> None:
        check_integers(self, "num_startup")
        if self.num_startup < 1:
            raise StudyError(f"LocalSearch has num_startup={self.num_startup}: at least 1 is needed.")

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        """Return the sampler."""

        def propose(history: History, rng: np.random.Generator) -> IntArray | None:
            if len(history.finished) >= self.num_startup:
                for member in history.finished[non_dominated(credible(history.costs))]:
                    unknown = fresh(problem, neighbours(problem.space, member), history.seen)
                    if len(unknown):
                        return np.asarray(rng.choice(unknown))
            return any_fresh(problem, history.seen, rng)

        return HistorySampler(problem, seed, propose)
