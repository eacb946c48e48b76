"""Two-stage search: one group of choices first, then the other from what that found."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from nas.errors import StudyError
from nas.pareto import non_dominated
from nas.protocols import Problem, Strategy
from nas.search.proposals import History, any_fresh, history_of, options_of, others
from nas.search.record import ReferenceBox, distributions, has_values
from nas.search.sub_problem import SubProblem
from nas.space import IntArray, SearchSpace

logger = logging.getLogger(__name__)

_MIRROR = "stage"


@final
@dataclass(frozen=True)
class TwoStage:
    """Two-stage search over a partition of the choices, after SSS3D (Therrien 2023).

    In the first stage the second group stays at its default and ``inner`` searches the first group. What
    is carried over is the Pareto set of that, or its knee: the member nearest to the best of every objective,
    with the front scaled to [0, 1]. In the second stage ``inner`` searches the second group together with
    the choice among the carried designs. When both are exhausted, it searches the whole space.

    The stage follows from the trials alone: the first one ends when ``first_evaluations`` trials have
    the second group at its default, or when there is none left to propose.

    Args:
        inner: Searches in each stage, with a space and a study of the stage's own: any strategy.
        partition: Two groups of patterns of choices' names, as in a shell: ``(("input.*",), ("stage?.*",))``.
            Every choice must be in exactly one of the groups.
        first_evaluations: How many evaluations the first stage may spend; the second has all others.
        carry: What of the first stage is gone on with.
        default: Where the second group stands in the first stage: at the largest or smallest options.

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
        return TwoStageSampler(self, problem, seed)


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


@final
class TwoStageSampler(BaseSampler):
    """Asks the inner strategy's sampler about the stage's sub-problem; see :class:`TwoStage`.

    The inner sampler sees a study in memory: the trials that lie in the sub-problem, in its choices. What it
    notes in a trial's system attributes goes to the real trial. A proposal of its that is known or breaks a
    constraint is replaced by a random one of the stage. Proposals are a function of the seed and the
    storage as far as the inner sampler's are.

    Args:
        settings: The strategy.
        problem: What is searched.
        seed: Of the inner samplers.
    """

    def __init__(self, settings: TwoStage, problem: Problem, seed: int) -> None:
        self._settings = settings
        self._problem = problem
        self._seed = seed
        space = problem.space
        self._first = first_group(space, settings.partition)
        self._second = np.setdiff1d(np.arange(len(space.choices)), self._first)
        end = settings.default
        row = [c.largest_index if end == "largest" else c.smallest_index for c in space.choices]
        self._default = np.array(row, dtype=np.int64)
        self._inner: tuple[SubProblem, BaseSampler] | None = None
        self._independent = RandomSampler(seed=seed)
        self._empty = InMemoryStorage()
        self._empty.create_new_study([_direction(o.direction) for o in problem.objectives], _MIRROR)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the whole space: all choices are proposed together."""
        return distributions(self._problem.space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the options of one architecture, or nothing when none is left to propose."""
        trials = others(study, trial)
        rng = np.random.default_rng([self._seed, trial.number])
        for stage in self._stages(trials):
            proposal = self._propose(stage, trials, rng)
            if proposal is not None:
                row, notes = proposal
                for key, value in notes.items():
                    study._storage.set_trial_system_attr(trial._trial_id, key, value)
                return dict(self._problem.space.from_indices(row[None])[0])
            logger.info("nothing is left to propose in this stage of the search")
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Sample a parameter that is not in the space at random."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _stages(self, trials: Sequence[FrozenTrial]) -> list[SubProblem]:
        """Return the present stage and those after it."""
        first = SubProblem(self._problem, self._default[None], self._first)
        spent = [t for t in trials if t.state != TrialState.PRUNED]
        history = history_of(self._problem, spent)
        rows = np.array([np.frombuffer(key, dtype=np.int64) for key in sorted(history.seen)])
        num_spent = int((first.project(rows) >= 0).all(axis=1).sum()) if len(rows) else 0
        second = SubProblem(self._problem, self._carried(first, history), self._second)
        whole = SubProblem(self._problem, self._default[None], np.arange(len(self._default)))
        stages = [first, second, whole]
        return stages if num_spent < self._settings.first_evaluations else stages[1:]

    def _carried(self, first: SubProblem, history: History) -> IntArray:
        """Return the designs that the second stage goes on from, the best of the first objective first."""
        inside = (first.project(history.finished) >= 0).all(axis=1)
        rows, costs = history.finished[inside], history.costs[inside]
        if not len(rows):
            return self._default[None]
        front = np.flatnonzero(non_dominated(costs))
        if self._settings.carry == "knee":
            distance = np.linalg.norm(ReferenceBox.around(costs[front]).scaled(costs[front]), axis=1)
            front = front[[int(np.argmin(distance))]]
        return rows[front[np.lexsort(costs[front].T[::-1])]]

    def _propose(
        self, stage: SubProblem, trials: Sequence[FrozenTrial], rng: np.random.Generator
    ) -> tuple[IntArray, Mapping[str, Any]] | None:
        if self._inner is None or self._inner[0] != stage:
            self._inner = stage, self._settings.inner.sampler(stage.problem, self._seed)
        mirrored = [m for t in trials if (m := _mirrored(stage, t)) is not None]
        storage = copy.deepcopy(self._empty)
        mirror = optuna.load_study(study_name=_MIRROR, storage=storage, sampler=self._inner[1])
        mirror.add_trials(mirrored)
        number = mirror.ask(distributions(stage.problem.space)).number
        asked = mirror.get_trials(deepcopy=False)[number]
        seen = history_of(stage.problem, mirrored).seen
        row = stage.problem.space.canonical(stage.problem.space.indices([asked.params]))
        if row.tobytes() not in seen and stage.problem.violation(row)[0] <= 0:
            return stage.expand(row)[0], asked.system_attrs
        other = any_fresh(stage.problem, seen, rng)
        return None if other is None else (stage.expand(other[None])[0], asked.system_attrs)


def _mirrored(stage: SubProblem, trial: FrozenTrial) -> FrozenTrial | None:
    """Return a trial in the choices of a stage; None if it is not one of the stage's architectures."""
    options = options_of(stage.full.space, trial)
    if options is None:
        return None
    row = stage.project(stage.full.space.indices([options]))
    if (row < 0).any():
        return None
    state = trial.state if trial.state.is_finished() else TrialState.RUNNING  # nobody is to be asked it again
    finite = has_values(trial)
    return optuna.trial.create_trial(
        state=TrialState.FAIL if state == TrialState.COMPLETE and not finite else state,
        values=trial.values if finite else None,
        params=dict(stage.problem.space.from_indices(row)[0]),
        distributions=distributions(stage.problem.space),
        user_attrs=trial.user_attrs,
        system_attrs={k: v for k, v in trial.system_attrs.items() if k != "fixed_params"},
    )


def _direction(direction: str) -> optuna.study.StudyDirection:
    return optuna.study.StudyDirection[direction.upper()]
