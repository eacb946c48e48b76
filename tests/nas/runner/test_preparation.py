from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
import torch
from fakes import tiny_network, tiny_study
from optuna.samplers import RandomSampler
from torch import Tensor, nn

from nas import (
    Accuracy,
    Constraint,
    Flops,
    LatencyMs,
    Macs,
    NumParams,
    Recipe,
    Supernet,
    WeightBytes,
    Winners,
    choice,
)
from nas.errors import InfeasibleError, NasError, ObjectiveError, StudyError
from nas.objective import Objective
from nas.objectives import Counts
from nas.runner.preparation import choose_training_device, prepare
from nas.space import FloatArray
from nas.splits import Split, Splits
from nas.supernet import elastic
from nas.supernet.sandwich import draw_architectures
from nas.tasks import Classification

CPU = torch.device("cpu")


def test_counted_objectives_and_violations_are_exact() -> None:
    objectives = (Accuracy(), Macs(), Flops(), NumParams(), WeightBytes())
    prepared = prepare(tiny_study(objectives=objectives, constraints=(Constraint(NumParams(), 200),)), CPU)
    rows = prepared.problem.space.sample_indices(20, np.random.default_rng(0))
    counted = prepared.problem.count(rows)
    assert list(counted) == ["macs", "flops", "num_params", "weight_bytes"]
    assert counted["flops"].tolist() == (2 * counted["macs"]).tolist()
    assert counted["weight_bytes"].tolist() == (4 * counted["num_params"]).tolist()
    expected = np.maximum(counted["num_params"] - 200, 0) / 200
    assert prepared.problem.violation(rows).tolist() == expected.tolist()


@pytest.mark.parametrize("part", ["recipe", "winners"])
def test_blocks_to_leave_out_are_looked_for_before_anything_is_paid(part: str) -> None:
    def network() -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), elastic.Linear(64, choice("width", 2, 4)), elastic.Linear(width, 10)
        )

    width, recipe = choice("width", 2, 4), Recipe(epochs=1, stochastic_depth=0.5)
    changes = {"recipe": recipe, "winners": Winners(count=1, recipe=recipe)}
    with pytest.raises(StudyError, match=r"stochastic_depth=0\.5, and the network has no row of blocks"):
        prepare(tiny_study(network=network, **{part: changes[part]}), CPU)
    prepare(tiny_study(**{part: changes[part]}), CPU)


def test_several_constraints_add_up() -> None:
    both = (Constraint(NumParams(), 100), Constraint(Macs(), 5000))
    problem = prepare(tiny_study(constraints=both), CPU).problem
    alone = [prepare(tiny_study(constraints=(one,)), CPU).problem for one in both]
    rows = problem.space.sample_indices(20, np.random.default_rng(0))
    assert np.allclose(problem.violation(rows), sum(p.violation(rows) for p in alone))


@pytest.mark.parametrize("at_most", [-5, 0, 1])
def test_a_limit_that_nothing_meets_names_the_closest(at_most: float) -> None:
    with pytest.raises(InfeasibleError, match="Nothing was trained"):
        prepare(tiny_study(constraints=(Constraint(NumParams(), at_most),)), CPU)


@dataclass(frozen=True)
class Energy:
    """A counted quantity whose values are far below 1."""

    objective: Objective = Objective("energy_mj", "mJ", "minimize")

    def count(self, counts: Counts) -> FloatArray:
        return counts.macs.astype(float) * 1e-6


def test_a_small_limit_is_told_with_the_digits_that_matter() -> None:
    with pytest.raises(InfeasibleError, match=r"energy_mj is 0\.00\d+ and at most 0\.0001 is asked for"):
        prepare(tiny_study(constraints=(Constraint(Energy(), 1e-4),)), CPU)


def test_a_limit_that_one_architecture_meets_is_feasible() -> None:
    prepared = prepare(tiny_study(), CPU)
    space = prepared.problem.space
    smallest = prepared.counter.counts(space.indices([space.smallest()])).num_params[0]
    limited = prepare(tiny_study(constraints=(Constraint(NumParams(), float(smallest)),)), CPU)
    violation = limited.problem.violation(space.indices([space.smallest(), space.largest()]))
    assert violation[0] == 0 < violation[1]


@pytest.mark.parametrize("at_most", ["smallest", "median"])
def test_training_draws_what_meets_the_constraints(at_most: str) -> None:
    prepared = prepare(tiny_study(), CPU)
    space, counter = prepared.problem.space, prepared.counter
    rows = space.sample_indices(500, np.random.default_rng(0))
    sizes = counter.counts(rows).num_params
    limit = float(sizes.min() if at_most == "smallest" else np.median(sizes))
    limited = prepare(tiny_study(constraints=(Constraint(NumParams(), limit),)), CPU)
    generators = [torch.Generator().manual_seed(seed) for seed in range(400)]
    found = space.indices([draw_architectures(limited.supernet, 1, generator)[0] for generator in generators])
    assert (counter.counts(found).num_params <= limit).all()
    assert {row.tobytes() for row in found} >= {row.tobytes() for row in rows[sizes <= limit]}
    unlimited = space.indices(
        [draw_architectures(prepared.supernet, 1, generator)[0] for generator in generators]
    )
    assert (counter.counts(unlimited).num_params > limit).any()


@pytest.mark.parametrize(
    "constraint",
    [
        lambda: Constraint(NumParams(), float("nan")),
        lambda: Constraint(LatencyMs(), 5.0),  # not an objective of the study
        lambda: Constraint(Accuracy(), 0.9),  # which is to be large
        lambda: Constraint("latency_ms", 5.0),  # type: ignore[arg-type]
    ],
)
def test_a_constraint_that_can_not_be_checked_is_a_sentence(constraint: object) -> None:
    with pytest.raises(NasError):
        prepare(tiny_study(constraints=(constraint(),)), CPU)  # type: ignore[operator]


def test_the_seed_makes_the_weights() -> None:
    one, same, other = (prepare(tiny_study(seed=seed), CPU).supernet.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_equal_studies_are_described_equally() -> None:
    first, second = (prepare(tiny_study(network=lambda: tiny_network()), CPU).description() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", ["nonsense", "cuda:99", "cpu:x", "meta", "mps", "xla", "hpu", "mkldnn", ""])
def test_a_device_that_is_not_there_is_a_sentence(name: str) -> None:
    with pytest.raises(StudyError, match="can't be used") as caught:
        choose_training_device(name)
    assert "\n" not in str(caught.value)


def test_the_cpu_is_always_there() -> None:
    assert choose_training_device("cpu") == CPU


@dataclass(frozen=True)
class Ids:
    """Sentences of four ids from 0 to 9, of which every third begins with the one that is given."""

    first: int = 9

    def load(self) -> Splits:
        rows, labels = (torch.arange(90) % 10).unsqueeze(1).repeat(1, 4), torch.arange(90) % 3
        rows[::3, 0] = self.first
        parts = [Split(rows[begin:end], labels[begin:end]) for begin, end in ((0, 30), (30, 60), (60, 90))]
        return Splits("ids", *parts, task=Classification(3), mean=(), std=(), fingerprint="ids")


def reader(num_tokens: int) -> nn.Module:
    width = choice("width", 4, 8)
    head = elastic.Linear(width, 3)
    return nn.Sequential(
        nn.Embedding(num_tokens, 4), nn.Flatten(), elastic.Linear(16, width), nn.ReLU(), head
    )


def test_the_network_must_take_every_id_of_the_data() -> None:
    prepare(tiny_study(network=lambda: reader(10), data=Ids()), CPU)
    for faulty in (Ids(10), Ids(-1), Ids(2**40)):
        with pytest.raises(StudyError, match=rf"ids, from .*{faulty.first}.* give its embedding"):
            prepare(tiny_study(network=lambda: reader(10), data=faulty), CPU)


class Wrapped(nn.Module):
    """A small network whose outputs are changed."""

    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        width = choice("width", 2, 4)
        self.first, self.last = elastic.Linear(64, width), elastic.Linear(width, 10)
        self.change = change

    def forward(self, images: Tensor) -> Any:
        return self.change(self.last(self.first(images.flatten(1))))


class Locked(Wrapped):
    def __init__(self) -> None:
        super().__init__(lambda outputs: outputs)
        self.lock = threading.Lock()


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = choice("factor", 1, 2)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :10] * self.factor


def same(outputs: Tensor) -> Tensor:
    return outputs


def raising(error: BaseException) -> Any:
    raise error


def sparse() -> nn.Module:
    network = Wrapped(same)
    network.register_buffer("mask", torch.eye(3).to_sparse())
    return network


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: None, "made of None"),
        (lambda: 3, "made of 3"),
        (lambda: nn.Linear, "made of the class Linear"),
        (lambda: Supernet(tiny_network()), "neither a supernet already"),
        (lambda: torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))), "compiled by torch.jit"),
        (lambda: raising(ValueError("one\ntwo")), r"can't be made \(ValueError: one two\)"),
        (lambda: raising(SystemExit(1)), r"can't be made \(SystemExit: 1\)"),
        (lambda: raising(RecursionError()), r"can't be made \(RecursionError\)"),
        (lambda _classes: tiny_network(), "can't be made"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, choice("width", 2, 4))), "nas.supernet.elastic"),
        (lambda: nn.Sequential(nn.Conv2d(1, choice("width", 2, 4), 3)), "nas.supernet.elastic"),
        (lambda: nn.Sequential(nn.BatchNorm2d(choice("width", 2, 4))), "nas.supernet.elastic"),
        (lambda: nn.Sequential(nn.Dropout(choice("rate", 0.1, 0.2))), "nas.supernet.elastic"),
        (lambda: Wrapped(same).to("meta"), "on device meta"),
        (sparse, "layout torch.sparse_coo"),
        (Bare, "it has no parameters"),
        (lambda: Wrapped(same).requires_grad_(False), "all its parameters are frozen"),
        (lambda: Wrapped(lambda outputs: outputs.detach()), "nothing would be learned"),
        (
            lambda: Wrapped(lambda outputs: outputs.argmax(1, keepdim=True).expand(-1, 10)),
            "nothing would be learned",
        ),
        (lambda: Wrapped(lambda outputs: torch.from_numpy(outputs.numpy())), "Can't call numpy"),
        (lambda: Wrapped(lambda outputs: outputs.numpy()), "the output is ndarray"),
        (lambda: Wrapped(lambda outputs: (outputs, outputs)), "the output is tuple"),
        (lambda: Wrapped(lambda outputs: sys.exit("over")), "says 'over'"),
        (lambda: Wrapped(lambda outputs: raising(KeyError("gone"))), "says \"'gone'\""),
        (Locked, "can't be copied"),
    ],
)
def test_a_network_that_can_not_be_searched_is_a_sentence(network: Any, message: str) -> None:
    with pytest.raises(NasError, match=message) as caught:
        prepare(tiny_study(network=network), CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_a_part_that_is_scripted_is_no_obstacle() -> None:
    network = lambda: nn.Sequential(torch.jit.script(nn.ReLU()), Wrapped(same))  # noqa: E731
    assert prepare(tiny_study(network=network), CPU).supernet.space.cardinality() == 2


@pytest.mark.parametrize("made", [None, 3, RandomSampler])
def test_a_strategy_makes_a_sampler(made: object) -> None:
    class Own:
        def sampler(self, problem: object, seed: int) -> Any:
            return made

    with pytest.raises(StudyError, match="a sampler of Optuna's is expected"):
        prepare(tiny_study(strategy=Own()), CPU)


@pytest.mark.parametrize("made", [None, "weights.safetensors", 3])
def test_the_function_of_the_weights_returns_a_path(made: object) -> None:
    with pytest.raises(StudyError, match=r"a pathlib\.Path is expected"):
        prepare(tiny_study(weights=lambda _device: made), CPU)


def test_a_count_that_fails_is_heard_before_anything_is_paid_for() -> None:
    class Own:
        objective = Objective("energy_mj", "mJ", "minimize")

        def count(self, counts: object) -> Any:
            sys.exit(1)

    with pytest.raises(ObjectiveError, match=r"count\(\) of 'energy_mj' failed \(SystemExit: 1\)"):
        prepare(tiny_study(objectives=(Accuracy(), Own())), CPU)


class Residual(nn.Module):
    def __init__(self, position: int) -> None:
        super().__init__()
        width = choice(f"{position}.width", 1, 2, 4)
        self.first, self.last = elastic.Linear(4, width), elastic.Linear(width, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return cast(Tensor, inputs + self.last(self.first(inputs).relu()))


def two_hundred_choices() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 4), *(Residual(position) for position in range(200)), nn.Linear(4, 10)
    )


def test_a_network_of_two_hundred_choices_is_prepared_with_few_runs() -> None:
    runs: list[Supernet] = []
    forward = Supernet.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Supernet, "forward", lambda self, *inputs: runs.append(self) or forward(self, *inputs))
        prepared = prepare(tiny_study(network=two_hundred_choices), CPU)
    assert prepared.supernet.space.cardinality() == 3**200
    assert prepared.counter.tables is not None
    assert len(runs) < 50
