from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import tiny_study
from torch import nn
from typer.testing import CliRunner

from nas import Accuracy, Constraint, Macs, NumParams
from nas.cli import app
from nas.runner.profile import profile
from nas.supernet import elastic_module


def converted() -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )
    return elastic_module(network, torch.randn(2, 1, 8, 8))


def test_the_space_and_its_costs_are_exact() -> None:
    found = profile(tiny_study(), 100)
    assert found.space.cardinality() == 42
    assert "42 architectures" in found.headline()
    assert {cost.quantity.objective.name for cost in found.costs} == {"num_params", "macs"}
    for cost in found.costs:
        assert len(cost.sample) == 100
        assert cost.smallest <= cost.sample[0] <= cost.sample[-1] <= cost.largest
        assert list(cost.sample) == sorted(cost.sample)
    assert found.conversion is None
    assert found.sentences() == ["no constraints on counted quantities"]


def test_it_says_what_constraints_leave() -> None:
    whole = profile(tiny_study(), 200)
    median = float(whole.costs[0].sample[100])
    assert whole.costs[0].quantity.objective.name == "num_params"
    found = profile(tiny_study(constraints=(Constraint(NumParams(), median),)), 200)
    assert 0.3 < found.feasible < 0.8
    assert found.infeasible is None
    assert found.limits[0][2] == found.feasible
    assert "meets all constraints" in found.sentences()[-1]


def test_constraints_that_nothing_meets_are_reported_not_raised() -> None:
    found = profile(tiny_study(constraints=(Constraint(Macs(), 1.0),)), 50)
    assert found.feasible == 0
    assert found.infeasible is not None
    assert "no architecture of the space meets the constraints" in found.sentences()[-1]


def test_constraints_that_few_meet_are_said_to_be_met() -> None:
    smallest = profile(tiny_study(), 10).costs[0].smallest
    found = profile(tiny_study(constraints=(Constraint(NumParams(), smallest),)), 3)
    assert found.infeasible is None


def test_a_converted_network_brings_its_report() -> None:
    found = profile(tiny_study(network=converted, objectives=(Accuracy(), Macs())), 10)
    assert found.conversion is not None
    assert found.conversion["0"].choices == ("0.width",)
    largest = next(cost.largest for cost in found.costs if cost.quantity.objective.name == "macs")
    assert largest == 16 * 9 * 64 + 16 * 10


def test_the_command_prints_it(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("from fakes import tiny_study as study\n")
    result = CliRunner().invoke(app, ["profile", str(tmp_path / "plain.py"), "--samples", "20"])
    assert result.exit_code == 0, result.output
    assert "42 architectures" in result.output
    assert "num_params" in result.output


def test_no_samples_are_refused() -> None:
    assert CliRunner().invoke(app, ["profile", "digits", "--samples", "0"]).exit_code == 2


@pytest.mark.parametrize("samples", [1, 5])
def test_few_samples_will_do(samples: int) -> None:
    assert profile(tiny_study(), samples).num_samples == samples
