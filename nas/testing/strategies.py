"""The contract of a search strategy, on a toy problem and on searches that are hard to go on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import final

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.search.loop import search
from nas.search.record.trials import REPEATS, distributions
from nas.space import Architecture
from nas.strategy import Problem, Strategy
from nas.testing.promises import Contract, Promise, check_repr
from nas.testing.toy import every_row, hard_starts, toy_evaluate, toy_problem

_SEED = 3
"""Any; proposals are compared with those of the same seed."""
_NUM_WORKERS = 4
"""Samplers that ask at the same time: the last must respect what three others proposed."""


@Contract
def check_strategy(
    strategy: Strategy,
    *,
    num_trials: int = 30,
    exact_resume: bool = True,
    never_wastes: bool = False,
) -> Sequence[Promise]:
    """Check a search strategy on a small space with a hard constraint and evaluations that fail.

    Proposals are in the space; equal seeds and study contents give equal proposals, also from a sampler
    that was made anew in the middle, also after a kill. Nothing stops it: an empty study, one finished
    trial, failures alone, equal rows, constant, huge or infinite values, one objective or twelve, a space of one
    architecture, a space that is exhausted.

    Args:
        strategy: To check. Its spaces have the choices of :func:`toy_problem`, with fewer options at times.
        num_trials: Evaluations to search for.
        exact_resume: Whether a new sampler must go on exactly as the old one would have. Optuna's own
            samplers don't: their generators are not restored.
        never_wastes: Whether it also promises never to repeat a proposal, be it finished, failed or running
            in another worker, nor to exceed a hard constraint, as long as anything else is left.

    Raises:
        BrokenPromisesError: promises are broken.
        AssertionError: it is no strategy.
    """
    assert isinstance(strategy, Strategy), f"{strategy!r} has no sampler()"
    case = _Case(strategy, num_trials, exact_resume, never_wastes)
    exact = [
        Promise("a new sampler goes on as the old one would have", case.check_resume),
        Promise("so does one after a kill", case.check_kill),
    ]
    wasteless = [Promise("nothing is proposed twice or in vain", case.check_nothing_wasted)]
    return [
        Promise("repr tells the settings", partial(check_repr, strategy)),
        Promise("equal seeds and trials give equal proposals", case.check_reproducible),
        *(exact if exact_resume else []),
        *(wasteless if never_wastes else []),
        *(Promise(f"it goes on from {name}", partial(case.check_start, name)) for name in case.starts),
    ]


@final
@dataclass(frozen=True)
class _Case:
    strategy: Strategy
    num_trials: int
    exact_resume: bool
    never_wastes: bool

    @cached_property
    def _problem(self) -> Problem:
        return toy_problem()

    @cached_property
    def starts(self) -> dict[str, tuple[Problem, list[FrozenTrial]]]:
        """What the strategy must go on from, by what is hard about it."""
        return hard_starts()

    @cached_property
    def _whole(self) -> optuna.Study:
        return self._search(self.num_trials)

    @cached_property
    def _resumed(self) -> optuna.Study:
        third = self.num_trials // 3
        return self._search(1, third, third + 1, self.num_trials)

    def _search(self, *marks: int, killed: bool = False) -> optuna.Study:
        return _search(self.strategy, self._problem, marks, killed=killed)

    def check_reproducible(self) -> None:
        assert _proposals(self._whole) == _proposals(self._search(self.num_trials)), (
            "equal seeds and study contents must give equal proposals"
        )

    def check_resume(self) -> None:
        assert _proposals(self._resumed) == _proposals(self._whole), (
            "a new sampler must go on as the old one would have"
        )

    def check_kill(self) -> None:
        killed = self._search(self.num_trials // 3, self.num_trials, killed=True)
        assert _proposals(killed) == _proposals(self._whole), (
            "after a kill, a new sampler must go on as the old one would have"
        )

    def check_nothing_wasted(self) -> None:
        for study in (self._whole, self._resumed):
            _check_nothing_wasted(self._problem, study)

    def check_start(self, name: str) -> None:
        """Ask as several workers do, each with a sampler of its own, none of them finished."""
        problem, earlier = self.starts[name]
        space = problem.space
        seen = {space.architecture(t.params).id for t in earlier if t.params}
        every = np.unique(space.canonical(every_row(space)), axis=0)
        feasible = {a.id for a in space.from_indices(every[problem.violation(every) <= 0])}
        left = feasible - seen
        count = len(left) + 2 if len(left) <= 2 * _NUM_WORKERS else _NUM_WORKERS
        asked = _ask(self.strategy, problem, earlier, count)
        if self.exact_resume:
            again = _ask(self.strategy, problem, earlier, count)
            assert asked == again, "equal seeds and study contents must give equal proposals"
        for number, architecture in enumerate(asked[: len(left)] if self.never_wastes else []):
            assert architecture.id not in seen, "a known architecture is proposed again"
            assert architecture not in asked[:number], "what another worker evaluates is proposed again"
            assert architecture.id in feasible, "a proposal exceeds a hard constraint"


def _check_nothing_wasted(problem: Problem, study: optuna.Study) -> None:
    trials = study.get_trials(deepcopy=False)
    repeated = [t.number for t in trials if REPEATS in t.user_attrs]
    assert not repeated, f"trials {repeated} repeat an architecture"
    exceeding = [t.number for t in trials if t.state == TrialState.PRUNED]
    assert not exceeding, f"trials {exceeding} exceed a hard constraint, or repeat a failed architecture"
    ids = {problem.space.architecture(t.params).id for t in trials}
    assert len(ids) == len(trials), "some architecture was proposed twice"


def _ask(
    strategy: Strategy, problem: Problem, earlier: Sequence[FrozenTrial], count: int
) -> list[Architecture]:
    """Return ``count`` proposals that all run at the same time."""
    study = optuna.create_study(directions=[objective.direction for objective in problem.objectives])
    study.add_trials(earlier)
    proposals = []
    for _ in range(count):
        study.sampler = strategy.sampler(problem, _SEED)
        trial = study.ask(distributions(problem.space))
        proposals.append(problem.space.architecture(trial.params))
    return proposals


def _search(
    strategy: Strategy, problem: Problem, marks: Sequence[int], *, killed: bool = False
) -> optuna.Study:
    """Search until each of ``marks`` in turn, every time with a new sampler on the same study.

    ``killed`` leaves a trial running in between, with half of its options made.
    """
    study = optuna.create_study(directions=[objective.direction for objective in problem.objectives])
    for mark in marks:
        study.sampler = strategy.sampler(problem, _SEED)
        search(
            study,
            problem,
            lambda architecture: toy_evaluate(problem, architecture),
            evaluations=mark,
            on_trial=_ignore,
        )
        if killed and mark != marks[-1]:
            wanted = distributions(problem.space)
            study.ask({name: wanted[name] for name in list(wanted)[:3]})
    return study


def _ignore(_trial: FrozenTrial) -> None:
    pass


def _proposals(study: optuna.Study) -> list[dict[str, object]]:
    return [trial.params for trial in study.get_trials(deepcopy=False)]
