"""Two-stage search: first one group of choices, then the other, starting from the results of the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, final

import numpy as np
from optuna.samplers import BaseSampler

from nas.checks import check_integers, check_kind
from nas.errors import StudyError
from nas.search.strategies.two_stage_sampler import TwoStageSampler
from nas.space import IntArray, SearchSpace
from nas.strategy import Problem, Strategy


@final
@dataclass(frozen=True)
class TwoStage:
    """Two-stage search over a partition of the choices, after SSS3D (Therrien 2023).

    In the first stage the second group stays at its default and ``inner`` searches the first group. What
    is carried over is the Pareto set of that, within the soft limits or nearest to them, or its knee: the
    member nearest to the best of every objective, with the front scaled to [0, 1]. In the second stage
    ``inner`` searches the second group together with the choice among the carried designs. When both are
    exhausted, or the first one found nothing to carry over, it searches the whole space.

    The stage follows from the trials alone: the first one ends when ``first_evaluations`` trials have
    the second group at its default, or when there is none left to propose.

    Args:
        inner: Searches in each stage, with a space and a study of the stage's own: any strategy.
        partition: Two groups of patterns of choices' names, as in a shell: ``(("input.*",), ("stage?.*",))``.
            Every choice must be in exactly one of the groups.
        first_evaluations: How many evaluations the first stage may spend; the second has all others.
        carry: Which designs of the first stage are carried over.
        default: Options of the second group in the first stage: the largest or the smallest.

    Raises:
        StudyError: a setting is out of range; when the sampler is made, a pattern fits no choice, or a
            choice is in both groups or in none.
    """

    inner: Strategy
    partition: tuple[tuple[str, ...], tuple[str, ...]]
    first_evaluations: int
    carry: Literal["pareto", "knee"] = "pareto"
    default: Literal["largest", "smallest"] = "largest"

    def __post_init__(self) -> None:
        wanted = "an instance with sampler(), such as SurrogateSearch(Mixture),"
        check_kind("TwoStage", "inner", self.inner, Strategy, wanted)
        check_integers(self, "first_evaluations")
        if self.first_evaluations < 1:
            raise StudyError(
                f"TwoStage has first_evaluations={self.first_evaluations}: at least 1 is needed."
            )
        for setting, value, allowed in (
            ("carry", self.carry, ("pareto", "knee")),
            ("default", self.default, ("largest", "smallest")),
        ):
            if value not in allowed:
                raise StudyError(f"TwoStage has {setting}={value!r}: use {allowed[0]!r} or {allowed[1]!r}.")
        groups = self.partition
        if len(groups) != 2 or any(isinstance(group, str) or not group for group in groups):
            raise StudyError(
                f"TwoStage has the partition {groups!r}: give two tuples of patterns of choices' names, "
                "such as (('input.*',), ('stage?.*',))."
            )

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        """Return the sampler."""
        end = self.default
        row = [c.largest_index if end == "largest" else c.smallest_index for c in problem.space.choices]
        return TwoStageSampler(
            problem,
            self.inner,
            seed=seed,
            first=first_group(problem.space, self.partition),
            default=np.array(row, dtype=np.int64),
            first_evaluations=self.first_evaluations,
            carry_knee=self.carry == "knee",
        )


def first_group(space: SearchSpace, partition: Sequence[Sequence[str]]) -> IntArray:
    """Return the columns of the choices that the first of two groups of patterns names.

    Raises:
        StudyError: a pattern fits no choice, or a choice is in both groups or in none.
    """
    names = [choice.name for choice in space.choices]
    for pattern in (pattern for group in partition for pattern in group):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise StudyError(f"TwoStage's pattern {pattern!r} fits no choice of the space: it has {names}.")
    member = np.array([[any(fnmatchcase(n, p) for p in group) for n in names] for group in partition])
    for name, num_groups in zip(names, member.sum(axis=0), strict=True):
        if num_groups != 1:
            raise StudyError(
                f"choice {name!r} is in {'both groups' if num_groups else 'no group'} of TwoStage's partition "
                f"{partition!r}: change the patterns so that it is in exactly one."
            )
    return np.flatnonzero(member[0])
