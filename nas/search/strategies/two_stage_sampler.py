"""The sampler of a two-stage search: an inner sampler asked about one sub-problem after the other."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.choices import Option
from nas.search.models.proposals import any_fresh, history_of, keys, others
from nas.search.record.credibility import credible
from nas.search.record.reference_box import ReferenceBox
from nas.search.record.trials import (
    LIMITS,
    NOTHING_LEFT,
    PREDICTED,
    PREDICTED_FROM,
    SAID,
    WIDENED,
    distributions,
    has_values,
    options_of,
    with_later,
)
from nas.search.strategies.architecture_sampler import ArchitectureSampler
from nas.search.strategies.beside import Make
from nas.search.strategies.sub_problem import SubProblem
from nas.space import IntArray
from nas.strategy import Problem, Strategy

logger = logging.getLogger(__name__)

_MIRROR = "stage"
_FIRST, _SECOND, _WHOLE = "the first stage", "the second stage", "the whole space"
_ABOUT_THE_TRIAL = {PREDICTED, PREDICTED_FROM, WIDENED, SAID}
"""Attributes that are about a trial; all others are an inner sampler's own, such as NSGA-II's generation."""


@final
class TwoStageSampler(ArchitectureSampler):
    """Asks the inner strategy's sampler about the present stage; see :class:`nas.search.TwoStage`.

    The inner sampler sees a study in memory: the trials that lie in the stage's sub-problem, in its choices.
    What it notes in a trial's system attributes goes to the real trial, and is seen again in the same stage alone: for
    NSGA-II the first stage's last generation, all of it at the default of the second group, is none to breed the
    second stage from. Where it proposes an architecture that is known or breaks a constraint, a random one of the
    stage takes its place. Proposals are a function of the seed and the storage as far as the inner sampler's are.

    Args:
        problem: What is searched.
        inner: Makes a sampler for a stage.
        seed: Seed of the inner samplers and of replacements.
        first: Columns of the choices that the first stage searches.
        default: ``(num_choices,)`` positions; where the others stand in it.
        first_evaluations: Evaluations of the first stage.
        carry_knee: Whether the second stage goes on from the knee alone, not from the Pareto set.
    """

    def __init__(
        self,
        problem: Problem,
        inner: Strategy,
        *,
        seed: int,
        first: IntArray,
        default: IntArray,
        first_evaluations: int,
        carry_knee: bool,
    ) -> None:
        everything = np.arange(len(default))
        super().__init__(problem, seed)
        self._inner = inner
        self._second = np.setdiff1d(everything, first)
        self._default = default
        self._first_evaluations = first_evaluations
        self._carry_knee = carry_knee
        self._first_stage = SubProblem(problem, default[None], first)
        self._last_stage = SubProblem(problem, default[None], everything)
        first_asked = inner.sampler(self._first_stage.problem, seed)  # to hear now if it can't be made
        self._asked: tuple[SubProblem, BaseSampler] = self._first_stage, first_asked
        self._told = ""
        self._empty = InMemoryStorage()  # to be copied: making one is logged by Optuna
        directions = [StudyDirection[objective.direction.upper()] for objective in problem.objectives]
        self._empty.create_new_study(directions, _MIRROR)

    def propose(self, study: optuna.Study, trial: FrozenTrial) -> IntArray | None:
        """Return an architecture of the present stage, or of a later one when nothing is left in it."""
        whole, rows = self._whole(others(study, trial))
        rng = np.random.default_rng([self._seed, trial.number])
        stages = self._stages(whole, rows)
        for name, stage in stages.items():
            proposal = self._within(stage, whole, rows, rng)
            if proposal is not None:
                self._tell(study, trial.number, name, skipped=_SECOND not in stages)
                row, notes = proposal
                for key, value in notes.items():
                    study._storage.set_trial_system_attr(trial._trial_id, key, value)
                return row
        return None

    def to_make(self, study: optuna.Study, in_flight: int) -> Make | None:
        """Return what the sampler of the present stage would have made, of the trials that it sees."""
        whole, rows = self._whole(with_later(study, study.get_trials(deepcopy=False)))
        rng = np.random.default_rng(self._seed)
        for stage in self._stages(whole, rows).values():
            if any_fresh(stage.problem, _find_seen(stage, rows), rng) is not None:
                mirror = self._mirror(stage, whole, rows)
                sampler = mirror.sampler
                return (
                    sampler.to_make(mirror, in_flight) if isinstance(sampler, ArchitectureSampler) else None
                )
        return None

    def _whole(self, trials: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], IntArray]:
        """Return the trials that hold a whole architecture, and its positions."""
        space = self._problem.space
        options = [options_of(space, t) for t in trials]
        whole = [t for t, made in zip(trials, options, strict=True) if made is not None]
        return whole, space.canonical(space.indices(made for made in options if made is not None))

    def _stages(self, trials: Sequence[FrozenTrial], rows: IntArray) -> dict[str, SubProblem]:
        """Return the present stage by name, and the later ones in case that nothing is left in it.

        There is no second stage as long as no trial of the first one has values. Trials that were made after the first
        stage don't count as its own, even if they lie in it.
        """
        inside = zip(trials, rows, self._first_stage.holds(rows), strict=True)
        first = [(t, row.tobytes()) for t, row, held in inside if held and t.state != TrialState.PRUNED]
        spent = list(dict.fromkeys(key for _, key in first))
        within = set(spent[: self._first_evaluations])
        stages = {_FIRST: self._first_stage} if len(spent) < self._first_evaluations else {}
        carried = self._choose_carried([trial for trial, key in first if key in within])
        if len(carried):
            stages[_SECOND] = SubProblem(self._problem, carried, self._second)
        return {**stages, _WHOLE: self._last_stage}

    def _tell(self, study: optuna.Study, number: int, name: str, *, skipped: bool) -> None:
        """Log a change of stage, and what leaves a stage out."""
        if name == self._told:
            return
        self._told = name
        logger.info("two-stage search: trial %d is from %s", number, name)
        if name == _WHOLE and skipped:
            logger.warning(
                "two-stage search: no design of the first stage has values to go on from, so the whole space is "
                "searched; if a constraint leaves nothing in the first stage, try the other default"
            )
        limits = study.user_attrs.get(LIMITS)
        if name == _FIRST and limits and limits["evaluations"] <= self._first_evaluations:
            logger.warning(
                "two-stage search: the first stage may spend all %d evaluations (first_evaluations=%d) and leave "
                "the second none: give the search more, or the first stage fewer",
                limits["evaluations"],
                self._first_evaluations,
            )

    def _choose_carried(self, first: Sequence[FrozenTrial]) -> IntArray:
        """Return the designs that the second stage goes on from, the best of the first objective first."""
        history = history_of(self._problem, first)
        costs = credible(history.costs)
        if len(costs) == 0:
            return history.finished
        front = np.flatnonzero(self._problem.front(costs))
        if self._carry_knee:
            distance = np.linalg.norm(ReferenceBox.around(costs[front]).scale(costs[front]), axis=1)
            front = front[[int(np.argmin(distance))]]
        return history.finished[front[np.lexsort(costs[front].T[::-1])]]

    def _within(
        self, stage: SubProblem, trials: Sequence[FrozenTrial], rows: IntArray, rng: np.random.Generator
    ) -> tuple[IntArray, Mapping[str, Any]] | None:
        """Return positions in the whole space and what the inner sampler notes; None if nothing is left."""
        seen = _find_seen(stage, rows)
        # First, because without one there is nothing left to ask the inner sampler about.
        spare = any_fresh(stage.problem, seen, rng)
        if spare is None:
            return None
        mirror = self._mirror(stage, trials, rows)
        space = stage.problem.space
        number = mirror.ask(distributions(space)).number
        asked = mirror.get_trials(deepcopy=False)[number]
        proposal = space.canonical(space.indices([asked.params]))[0]
        if proposal.tobytes() in seen or stage.problem.violation(proposal[None])[0] > 0:
            proposal = spare
        notes = {key: value for key, value in asked.system_attrs.items() if key != NOTHING_LEFT}
        return stage.expand(proposal[None])[0], notes

    def _mirror(self, stage: SubProblem, trials: Sequence[FrozenTrial], rows: IntArray) -> optuna.Study:
        """Return a study in memory of the trials that lie in a stage, with the inner sampler."""
        if self._asked[0] != stage:
            self._asked = stage, self._inner.sampler(stage.problem, self._seed)
        storage = copy.deepcopy(self._empty)
        mirror = optuna.load_study(study_name=_MIRROR, storage=storage, sampler=self._asked[1])
        space = stage.problem.space
        parts = stage.project(rows)
        inside = np.flatnonzero(parts[:, 0] >= 0).tolist()
        wanted = distributions(space)
        older = self._first_stage.holds(rows) & (stage is not self._first_stage)
        for position, architecture in zip(inside, space.from_indices(parts[inside]), strict=True):
            trial = trials[position]
            attributes = trial.system_attrs
            if older[position]:
                attributes = {key: attributes[key] for key in _ABOUT_THE_TRIAL & attributes.keys()}
            mirror.add_trial(_mirror_trial(trial, attributes, dict(architecture), wanted))
        return mirror


def _find_seen(stage: SubProblem, rows: IntArray) -> set[bytes]:
    """Return the keys of those rows that lie in a stage, in its choices."""
    parts = stage.project(rows)
    return keys(parts[parts[:, 0] >= 0])


def _mirror_trial(
    trial: FrozenTrial,
    attributes: Mapping[str, Any],
    options: dict[str, Option],
    wanted: dict[str, BaseDistribution],
) -> FrozenTrial:
    """Return a trial with other choices; a queued one as running, so that nobody is asked to run it."""
    finite = has_values(trial)
    state = trial.state if trial.state.is_finished() else TrialState.RUNNING
    return optuna.trial.create_trial(
        state=TrialState.FAIL if state == TrialState.COMPLETE and not finite else state,
        values=trial.values if finite else None,
        params=options,
        distributions=wanted,
        user_attrs=trial.user_attrs,
        system_attrs={key: value for key, value in attributes.items() if key != "fixed_params"},
    )
