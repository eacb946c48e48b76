from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pass_fakes import lab_of, model_of, random_split, residual_net
from torch import nn

from nas.compression import Circulant, FineTune, Pipeline
from nas.compression.structure import apply_changes, describe_changes
from nas.devices import Session, Timings
from nas.errors import ExportError, StudyError
from nas.evaluation.counts import count_params
from nas.supernet.circulant import expand, project
from nas.supernet.circulant_layers import CirculantConv2d, CirculantLinear
from nas.testing import check_compression_pass


def test_the_contract_is_kept(tmp_path: Path) -> None:
    check_compression_pass(Circulant((8, 2, 1)), tmp_path)


def test_layers_become_the_nearest_and_the_rest_stays(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, split = residual_net(), random_split(1, 8, 8)
    made = Circulant(4).apply(model_of(network, split), {}, lab_of(split, tmp_path))
    assert made.module is not None
    assert made.applied == ("circulant: 5 layers in blocks of 4",)
    assert isinstance(made.module[0], nn.Conv2d)  # type: ignore[index]  # of one channel: nothing to save
    convolution, linear = made.module[3].layers[0], made.module[7]  # type: ignore[index,union-attr]
    assert isinstance(convolution, CirculantConv2d)
    assert isinstance(linear, CirculantLinear)
    dense = network[3].layers[0].weight  # type: ignore[index,union-attr]
    torch.testing.assert_close(convolution.weight, project(dense.flatten(2), 4))
    torch.testing.assert_close(linear.bias, network[7].bias)  # type: ignore[index]
    weights = 4 * 8 * 16 * 9  # of four convolutions; the linear layer has 3 rows of 32, in one row of blocks
    assert count_params(network) - count_params(made.module) == weights * 3 // 4 + 3 * 32 - 32


def test_projecting_a_circulant_network_changes_nothing_but_its_size(tmp_path: Path) -> None:
    network, split = nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 3)), random_split(24)
    with torch.no_grad():
        network[0].weight.copy_(expand(torch.randn(2, 3, 8), 16, 24))
    made = Circulant(8).apply(model_of(network, split), {}, lab_of(split, tmp_path)).module
    assert made is not None
    torch.testing.assert_close(made[0](split.inputs), network[0](split.inputs))  # type: ignore[index,operator]


def test_what_comes_out_can_be_trained(tmp_path: Path) -> None:
    split = random_split(1, 8, 8)
    lab = lab_of(split, tmp_path)
    made = Circulant(4).apply(model_of(residual_net(), split), {}, lab)
    assert made.module is not None
    trained = FineTune().apply(made, {}, lab).module
    assert trained is not None
    before, after = (dict(module.named_parameters()) for module in (made.module, trained))
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_the_options_name_the_sizes_and_one_changes_nothing(tmp_path: Path) -> None:
    network, split = residual_net(), random_split(1, 8, 8)
    made_of, model = Circulant((8, 4, 1)), model_of(network, split)
    space = Pipeline(made_of).space
    assert dict(space.smallest()) == {"circulant.block_size": "8"}
    assert made_of.apply(model, space.largest(), lab_of(split, tmp_path)) is model
    made = made_of.apply(model, {"circulant.block_size": "4"}, lab_of(split, tmp_path))
    assert made.applied == ("circulant: 5 layers in blocks of 4",)
    assert made.module is not None
    back = apply_changes(network, describe_changes(network, made.module)).eval()
    back.load_state_dict(made.module.state_dict())
    assert torch.equal(back(split.inputs), made.module(split.inputs))


@dataclass(frozen=True)
class FakeDevice:
    """Takes as long for each model as is told, in turn."""

    seconds: tuple[float, float]

    def identity(self) -> str:
        return "fake"

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        yield FakeSession(self.seconds)


@dataclass(frozen=True)
class FakeSession:
    seconds: tuple[float, float]

    def time(self, order: Sequence[int], runs: int) -> Timings:
        return Timings(np.array([[self.seconds[position]] * runs for position in order]))


@pytest.mark.parametrize(
    ("device", "fourier"),
    [
        (FakeDevice((1.0, 0.5)), True),
        (FakeDevice((1.0, 0.9)), False),
        (FakeDevice((1.0, 2.0)), False),
        (None, False),
    ],
)
def test_large_layers_are_multiplied_as_the_device_is_faster(
    device: Any, fourier: bool, tmp_path: Path
) -> None:
    """Those of the network too that were circulant before; small ones aren't timed."""
    network = nn.Sequential(CirculantLinear(512, 512, 8), nn.ReLU(), nn.Linear(512, 3))
    split = random_split(512, count=4)
    made = Circulant(16, device=device).apply(model_of(network, split), {}, lab_of(split, tmp_path))
    assert made.module is not None
    assert [made.module[0].fourier, made.module[2].fourier] == [fourier, False]  # type: ignore[index,union-attr]
    assert ("1 multiplied in the frequency domain" in made.applied[-1]) == fourier
    torch.testing.assert_close(made.module[0](split.inputs), network[0](split.inputs), rtol=0, atol=1e-5)  # type: ignore[index,operator]


@pytest.mark.parametrize("size", [0, True, 2.0, "8", (), (1, 8), (16, 8), (8, 8, 1)])
def test_sizes_that_are_none_are_refused(size: Any) -> None:
    with pytest.raises(StudyError, match=r"Circulant has .*(block sizes|block_size)"):
        Circulant(size)


def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="device="):
        Circulant(8, device="cpu")  # type: ignore[arg-type]

    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 16)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows @ self.layer.weight

    split = random_split(16)
    with pytest.raises(ExportError, match="circulant can't take Reading"):
        Circulant(8).apply(model_of(Reading(), split), {}, lab_of(split, tmp_path))
