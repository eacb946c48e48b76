from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from fakes import tiny_network, tiny_study
from torch import nn

from nas import Accuracy, Constraint, Flops, LatencyMs, Macs, NumParams, WeightBytes
from nas.choices import choice
from nas.errors import InfeasibleError, NasError, StudyError
from nas.protocols import Split, Splits
from nas.runner.preparation import choose_device, prepare
from nas.supernet import elastic
from nas.supernet.sandwich import drawn

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
    found = space.indices([drawn(limited.supernet, 1, generator)[0] for generator in generators])
    assert (counter.counts(found).num_params <= limit).all()
    assert {row.tobytes() for row in found} >= {row.tobytes() for row in rows[sizes <= limit]}
    unlimited = space.indices([drawn(prepared.supernet, 1, generator)[0] for generator in generators])
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


@pytest.mark.parametrize("name", ["nonsense", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_a_sentence(name: str) -> None:
    with pytest.raises(StudyError, match="can't be used") as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)


def test_the_cpu_is_always_there() -> None:
    assert choose_device("cpu") == CPU


@dataclass(frozen=True)
class Ids:
    """Sentences of four ids from 0 to 9, of which every third begins with the one that is given."""

    first: int = 9

    def load(self) -> Splits:
        rows, labels = (torch.arange(90) % 10).unsqueeze(1).repeat(1, 4), torch.arange(90) % 3
        rows[::3, 0] = self.first
        parts = [Split(rows[begin:end], labels[begin:end]) for begin, end in ((0, 30), (30, 60), (60, 90))]
        return Splits("ids", *parts, num_classes=3, mean=(), std=(), fingerprint="ids")


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
