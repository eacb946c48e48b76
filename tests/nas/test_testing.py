"""The contract suites find what they are there to find."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from fakes import FewDigits, NearestSurrogate, tiny_network
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor, nn

from nas import Accuracy, choice
from nas.choices import Choice, Option
from nas.compression import Lab, Model
from nas.errors import NasError
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Candidate, Counts
from nas.search.models.proposals import any_fresh
from nas.search.record.trials import distributions, indices_of
from nas.space import FloatArray, IntArray, SearchSpace
from nas.splits import Splits
from nas.strategy import Prediction, Problem
from nas.supernet import elastic
from nas.tasks import Classification
from nas.testing import (
    check_compression_pass,
    check_counted_objective,
    check_data_source,
    check_measured_objective,
    check_network,
    check_strategy,
    check_surrogate,
    toy_problem,
)


def test_good_parts_pass() -> None:
    check_surrogate(NearestSurrogate)
    check_data_source(FewDigits())
    check_network(tiny_network, (1, 8, 8), Classification(10), num_random=2)


class Changed(NearestSurrogate):
    """A nearest-neighbour surrogate with one fault."""

    def __init__(self, fault: str, space: SearchSpace) -> None:
        super().__init__(space)
        self.fault = fault

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        if self.fault == "remembers" and hasattr(self, "_encodings"):
            return
        if self.fault == "global":
            rng = np.random.default_rng(int(torch.randint(1000, ())))
        if self.fault == "changes data":
            costs -= costs.mean(axis=0)
        if self.fault == "two rows" and len(costs) < 3:
            raise ValueError("too few")
        super().fit(indices, costs, rng)
        self._noise = rng.normal()

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        draws = super().sample(indices, count, rng)
        if self.fault == "draws beside":
            return draws + 3 * super().predict(indices).std
        if self.fault == "draws too wide":
            return 3 * draws - 2 * draws.mean(axis=0)
        if self.fault == "draws of another shape":
            return draws[0]
        return draws

    def predict(self, indices: IntArray) -> Prediction:
        good = super().predict(indices)
        if self.fault == "zero std":
            return Prediction(good.mean, np.zeros_like(good.std))
        if self.fault == "std is NaN":
            return Prediction(good.mean, np.full_like(good.std, np.nan))
        if self.fault == "shape":
            return Prediction(good.mean[:, 0], good.std)
        if self.fault == "float32":
            return Prediction(good.mean.astype(np.float32), good.std)  # type: ignore[arg-type]
        if self.fault == "batch":
            return Prediction(good.mean - good.mean.mean(axis=0), good.std)
        if self.fault == "drifts":
            self._noise += 1.0
        return Prediction(good.mean + self._noise, good.std)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("remembers", "must forget"),
        ("global", "equal data and generator state"),
        ("changes data", "changes the arrays"),
        ("two rows", "too few"),
        ("zero std", "std is not positive"),
        ("std is NaN", "std is not finite"),
        ("shape", "mean has shape"),
        ("float32", "mean is float32"),
        ("batch", "rows beside"),
        ("drifts", "must not change the surrogate"),
        ("draws beside", "not centred"),
        ("draws too wide", "scatter more"),
        ("draws of another shape", "sample\\(\\) gives shape"),
    ],
)
def test_a_faulty_surrogate_is_found(fault: str, message: str) -> None:
    with pytest.raises((AssertionError, ValueError), match=message):
        check_surrogate(partial(Changed, fault))


@dataclass
class Cost:
    """A counted objective that counts with a function."""

    function: Callable[[Counts], Any]
    objective: Objective = Objective("cost", "", "minimize")

    def count(self, counts: Counts) -> FloatArray:
        return self.function(counts)  # type: ignore[no-any-return]


def spoil(counts: Counts) -> FloatArray:
    counts.macs[:] = 0
    return counts.num_params.astype(np.float64)


@pytest.mark.parametrize(
    "function",
    [
        lambda counts: np.log(counts.macs - 1.0),
        lambda counts: counts.macs.sum() * np.ones(1),
        lambda counts: counts.macs / counts.macs.max(),
        lambda counts: np.random.default_rng().random(len(counts.macs)),
        lambda counts: np.arange(len(counts.macs), dtype=np.float64),
        spoil,
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")  # of the first, which is what it is there for
def test_a_faulty_counted_objective_is_found(function: Callable[[Counts], Any]) -> None:
    with pytest.raises(AssertionError):
        check_counted_objective(Cost(function))


@dataclass
class Measured:
    """Accuracy with one fault."""

    fault: str
    objective: Objective = Accuracy().objective

    def calibrate(self) -> dict[str, float]:
        return {"x": np.float32(1.0)} if self.fault == "no JSON" else {}  # type: ignore[dict-item]

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        good = MeasuredQuality(Accuracy()).measure(candidates, bench)
        changes: dict[str, dict[str, Any]] = {
            "unit": {"unit": "%"},
            "nan": {"value": float("nan")},
            "spread": {"spread": -1.0},
            "repeats": {"repeats": 0},
        }
        if self.fault == "one for all":
            return good[:1]
        if self.fault == "thorough" and bench.thorough:
            return []
        return [dataclasses.replace(m, **changes.get(self.fault, {})) for m in good]


@pytest.mark.parametrize("fault", ["no JSON", "unit", "nan", "spread", "repeats", "one for all", "thorough"])
def test_a_faulty_measured_objective_is_found(fault: str) -> None:
    with pytest.raises((AssertionError, NasError, TypeError)):
        check_measured_objective(Measured(fault))


@dataclass(frozen=True)
class Pass:
    """Halves the weights where its choice says so, with one fault."""

    fault: str
    name: str = "halve"
    works_on: Literal["module", "file"] = "module"
    trains: bool = False

    def choices(self) -> SearchSpace:
        return SearchSpace((Choice("by" if self.fault == "name" else f"{self.name}.by", (0.5, 1.0)),))

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        (by,) = options.values()
        if by == (0.5 if self.fault == "order" else 1.0) and self.fault != "never the same":
            return model
        module = model.module if self.fault == "given" else copy.deepcopy(model.module)
        assert module is not None
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(float("nan") if self.fault == "nan" else 0.5)
                if self.fault == "random":
                    parameter.add_(torch.rand(()))
        if self.fault == "leftover":
            (lab.folder.parent / "leftover").touch()
        if self.fault == "outputs":
            module = nn.Sequential(module, nn.Linear(10, 9)).eval()
        if self.fault == "nothing":
            return replace(model, module=None)
        applied = () if self.fault == "silent" else ("halved",)
        return replace(model, module=module, applied=(*model.applied, *applied))


@pytest.mark.parametrize(
    "fault",
    [
        *("order", "name", "never the same", "given", "nan", "random", "leftover", "outputs", "nothing"),
        "silent",
    ],
)
def test_a_faulty_pass_is_found(fault: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, NasError)):
        check_compression_pass(Pass(fault), tmp_path)


def test_a_pass_that_does_nothing_wrong_passes(tmp_path: Path) -> None:
    check_compression_pass(Pass(""), tmp_path)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.nothing = choice("nothing", 1, 2)

    def forward(self, images: Tensor) -> Tensor:
        return images


class WrongSlice(nn.Module):
    """An elastic layer that extracts other weights than it uses."""

    def __init__(self) -> None:
        super().__init__()
        self.width = choice("sliced", 4, 8)
        self.weight = nn.Parameter(torch.randn(8, 8))

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.linear(images, self.weight)[..., : self.width].repeat(1, 1, 1, 8 // self.width)

    def extract(self) -> nn.Module:
        plain = nn.Linear(8, 8, bias=False)
        plain.weight.data = self.weight.flip(0)[: self.width].repeat(8 // self.width, 1)
        return plain

    def num_active_params(self) -> int:
        return 64

    def macs_per_position(self) -> int:
        return 64


def with_module(module: type[nn.Module]) -> nn.Module:
    width = choice("width", 2, 4)
    return nn.Sequential(module(), nn.Flatten(), elastic.Linear(64, width), elastic.Linear(width, 10))


@pytest.mark.parametrize(
    ("module", "message"),
    [(Unused, "same cost and output"), (WrongSlice, "extracted and active subnet differ")],
)
def test_a_faulty_network_is_found(module: type[nn.Module], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_network(partial(with_module, module), (1, 8, 8), Classification(10))


def test_a_network_that_differs_each_time_is_found() -> None:
    names = iter("abcdef")

    def make() -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), elastic.Linear(64, 10), elastic.Linear(10, choice(next(names), 10))
        )

    with pytest.raises(AssertionError, match="another space"):
        check_network(make, (1, 8, 8), Classification(10))


def test_a_network_that_does_not_fit_is_found() -> None:
    with pytest.raises(NasError):
        check_network(tiny_network, (3, 8, 8), Classification(10))


@dataclass
class Source:
    change: Callable[[Splits], Splits]
    loads: int = 0

    def load(self) -> Splits:
        self.loads += 1
        splits = self.change(FewDigits().load())
        return dataclasses.replace(splits, fingerprint=f"{self.loads}") if self.change is same else splits


def same(splits: Splits) -> Splits:
    return splits


def with_train(splits: Splits, **changes: Tensor) -> Splits:
    return dataclasses.replace(splits, train=dataclasses.replace(splits.train, **changes))


@pytest.mark.parametrize(
    "change",
    [
        same,
        lambda s: with_train(s, inputs=s.train.inputs.double()),
        lambda s: with_train(s, targets=s.train.targets.int()),
        lambda s: with_train(s, targets=s.train.targets + 1),
        lambda s: with_train(s, targets=s.train.targets * 0),
        lambda s: with_train(s, inputs=s.train.inputs / 0.0),
        lambda s: with_train(s, inputs=s.train.inputs[:-1]),
        lambda s: dataclasses.replace(s, mean=()),
    ],
)
def test_a_faulty_source_is_found(change: Callable[[Splits], Splits]) -> None:
    with pytest.raises(AssertionError):
        check_data_source(Source(change))


class Forgetful:
    """Its sampler's generator starts again after a resume."""

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        return RandomSampler(seed=seed)


class Unseeded:
    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        return RandomSampler()


def test_faulty_strategies_are_found() -> None:
    with pytest.raises(AssertionError, match="as the old one would have"):
        check_strategy(Forgetful())
    check_strategy(Forgetful(), exact_resume=False)
    with pytest.raises(AssertionError, match="equal seeds"):
        check_strategy(Unseeded(), exact_resume=False)
    with pytest.raises(AssertionError, match=r"exceed a hard constraint|repeat an architecture"):
        check_strategy(Forgetful(), exact_resume=False, never_wastes=True)


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
        check_strategy(Faulty(fault), never_wastes=True)


def test_the_toy_problem_is_what_it_says() -> None:
    problem = toy_problem()
    assert problem.space.cardinality() == 1536
    rows = np.array(list(np.ndindex(*problem.space.num_options)), dtype=np.int64)
    feasible = float((problem.violation(rows) <= 0).mean())
    assert 0.5 < feasible < 0.9
