"""Any sampler of Optuna's as a strategy."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import final

import optuna
from optuna.samplers import BaseSampler, BruteForceSampler

from nas.errors import StudyError, one_line
from nas.search.record.trials import distributions
from nas.strategy import Problem


@final
@dataclass(frozen=True)
class OptunaSampler:
    """A sampler of Optuna's by its class name, with its defaults: ``OptunaSampler("NSGAIISampler")``.

    It doesn't know the counted objectives in advance; what it proposes against a hard constraint is
    turned down unpaid, and a repeated proposal is answered from the record.

    Raises:
        StudyError: Optuna has no such sampler, or it needs Optuna's own loop; when the sampler is made, it can't be
            made from a seed alone or can't propose for the problem.
    """

    name: str

    def __post_init__(self) -> None:
        known = getattr(optuna.samplers, self.name, None)
        if not (inspect.isclass(known) and issubclass(known, BaseSampler)):
            raise StudyError(
                f"Optuna has no sampler {self.name!r}: name a class of optuna.samplers, "
                "for example NSGAIISampler, TPESampler or RandomSampler."
            )
        if issubclass(known, BruteForceSampler):
            raise StudyError(
                f"{self.name} ends Optuna's own loop, which isn't used here: name RandomSampler, which evaluates a "
                "small space in full as well, each architecture once."
            )

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        """Return the sampler."""
        directions = [objective.direction for objective in problem.objectives]
        tried = optuna.create_study(directions=directions, sampler=self._make(seed))
        try:
            tried.ask(distributions(problem.space))
        except Exception as error:  # each sampler has its own
            raise StudyError(
                f"{self.name} can't propose for this study of {len(directions)} objectives "
                f"({one_line(error)}): name another sampler, for example NSGAIISampler or TPESampler."
            ) from error
        return self._make(seed)  # another one, because asking moves its random generator on

    def _make(self, seed: int) -> BaseSampler:
        try:
            made: BaseSampler = getattr(optuna.samplers, self.name)(seed=seed)
        except TypeError as error:
            raise StudyError(
                f"{self.name} can't be made from a seed alone ({error}): write a strategy that makes it."
            ) from error
        return made
