"""Surrogate search: the project's own strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from optuna.samplers import BaseSampler

from nas.checks import check_integers, check_maker
from nas.errors import StudyError
from nas.search.strategies.surrogate_sampler import SurrogateSampler
from nas.strategy import MakeSurrogate, Problem


@final
@dataclass(frozen=True)
class SurrogateSearch:
    """Surrogate-assisted NSGA-II: see :class:`nas.search.strategies.surrogate_sampler.SurrogateSampler`.

    Args:
        surrogate: Makes an untrained surrogate for a space; a class will do.
        num_startup: Finished evaluations before the first fit, at least 4.
        batch_size: Finished evaluations between two fits, at most: a fit follows whenever there are a quarter more
            than at the last, because the first evaluations teach most.
    """

    surrogate: MakeSurrogate
    num_startup: int = 12
    batch_size: int = 8

    def __post_init__(self) -> None:
        check_maker("SurrogateSearch", "surrogate", self.surrogate, "a class such as Mixture")
        check_integers(self, "num_startup", "batch_size")
        if self.num_startup < 4 or self.batch_size < 1:
            raise StudyError(
                f"SurrogateSearch has num_startup={self.num_startup} and batch_size={self.batch_size}: at "
                "least 4 and 1 are needed."
            )

    @property
    def uses_knowledge(self) -> bool:
        """It does."""
        return True

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        """Return the sampler."""
        return SurrogateSampler(
            problem,
            self.surrogate,
            seed=seed,
            num_startup=self.num_startup,
            batch_size=self.batch_size,
        )
