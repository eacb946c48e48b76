from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.errors import NasError
from nas.search.models.proposals import any_fresh
from nas.search.record.trials import distributions, indices_of
from nas.space import FloatArray
from nas.strategy import Problem
from nas.testing import (
    Promise,
    check_strategy,
    toy_problem,
)


@dataclass(frozen=True)
class Forgetful:
    """Its sampler's generator starts again after a resume."""

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        return RandomSampler(seed=seed)


@dataclass(frozen=True)
class Unseeded:
    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        return RandomSampler()


def test_faulty_strategies_are_found() -> None:
    with pytest.raises(AssertionError, match="as the old one would have"):
        check_in_turn(check_strategy.promises(Forgetful()))
    check_strategy(Forgetful(), exact_resume=False)
    with pytest.raises(AssertionError, match="equal seeds"):
        check_in_turn(check_strategy.promises(Unseeded(), exact_resume=False))
    with pytest.raises(AssertionError, match=r"exceed a hard constraint|repeat an architecture"):
        check_in_turn(check_strategy.promises(Forgetful(), exact_resume=False, never_wastes=True))


def check_in_turn(promises: Sequence[Promise]) -> None:
    """Stop at the first broken promise, because a whole suite for each fault takes long."""
    for promise in promises:
        promise()


@dataclass(frozen=True)
class Faulty:
    """Random search that keeps every promise but one."""

    fault: str

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        return FaultySampler(problem, seed, self.fault)


class FaultySampler(BaseSampler):
    def __init__(self, problem: Problem, seed: int, fault: str) -> None:
        self.problem, self.seed, self.fault = problem, seed, fault
        self.asked = 0

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return distributions(self.problem.space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        known = [t for t in others if t.params or self.fault == "expects options"]
        overlooked = {"forgets failures": TrialState.FAIL, "forgets running": TrialState.RUNNING}
        known = [t for t in known if t.state != overlooked.get(self.fault)]
        values = np.array([t.values for t in known if t.state == TrialState.COMPLETE])
        self.refuse(len(known), values)
        rows = indices_of(self.problem.space, known)
        problem = self.problem
        if self.fault == "exceeds":
            problem = dataclasses.replace(problem, violation=lambda indices: np.zeros(len(indices)))
        row = any_fresh(problem, {row.tobytes() for row in rows}, self.generator(study, trial))
        if row is None and self.fault == "never ends":
            raise RuntimeError("nothing left")
        return {} if row is None else dict(problem.space.from_indices(row[None])[0])

    def refuse(self, num_known: int, values: FloatArray) -> None:
        """Raise where the fault is a crash."""
        crashes = {
            "needs two": len(values) == 1,
            "needs values": num_known > 0 and len(values) == 0,
            "divides by the range": len(values) > 1
            and bool((values.min(axis=0) == values.max(axis=0)).any()),
            "believes all values": not np.isfinite(values).all(),
            "two to four objectives": len(values) > 0 and not 2 <= values.shape[1] <= 4,
            "small numbers": bool((np.abs(values) > 1e9).any() and np.isfinite(values).all()),
        }
        if crashes.get(self.fault):
            raise ArithmeticError(self.fault)

    def generator(self, study: Study, trial: FrozenTrial) -> np.random.Generator:
        self.asked += 1
        number = trial.number
        if self.fault == "counts in memory":
            number = self.asked
        if self.fault == "counts in the storage":
            number = study.user_attrs.get("asked", 0)
            study.set_user_attr("asked", number + 1)
        return np.random.default_rng([self.seed, number])

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        options = self.problem.space[param_name].options
        return options[trial.number % len(options)]


def test_a_strategy_that_keeps_every_promise_passes() -> None:
    check_strategy(Faulty("none"), never_wastes=True)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("counts in memory", "a new sampler must go on"),
        ("counts in the storage", "after a kill"),
        ("exceeds", "exceed"),
        ("forgets failures", "failed architecture|known architecture"),
        ("forgets running", "what another worker evaluates"),
        ("expects options", "options|depth|width|missing"),
        ("never ends", "nothing left"),
        *((fault, fault) for fault in ("needs two", "needs values", "divides by the range")),
        *((fault, fault) for fault in ("believes all values", "two to four objectives", "small numbers")),
    ],
)
def test_a_faulty_strategy_is_found(fault: str, message: str) -> None:
    with pytest.raises((AssertionError, ArithmeticError, NasError, RuntimeError, KeyError), match=message):
        check_in_turn(check_strategy.promises(Faulty(fault), never_wastes=True))


def test_the_toy_problem_is_what_it_says() -> None:
    problem = toy_problem()
    assert problem.space.cardinality() == 1536
    rows = np.array(list(np.ndindex(*problem.space.num_options)), dtype=np.int64)
    feasible = float((problem.violation(rows) <= 0).mean())
    assert 0.5 < feasible < 0.9
