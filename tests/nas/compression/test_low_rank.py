from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pass_fakes import lab_of, model_of, random_split, residual_net
from torch import Tensor, nn

from nas.compression.low_rank import LowRank
from nas.compression.pipeline import CompressionPass, Model, Pipeline
from nas.compression.structure import apply_changes, describe_changes
from nas.errors import ExportError, SpaceError, StudyError
from nas.evaluation.counts import count_macs
from nas.supernet import recalibrate
from nas.testing import check_compression_pass


def of_rank(layer: Any, rank: int) -> Any:
    """Return a layer whose weight is of a rank along its outputs and its inputs."""
    torch.manual_seed(0)
    shape = layer.weight.shape
    core = torch.randn(rank, rank, *shape[2:])
    given, taken = torch.randn(shape[0], rank), torch.randn(shape[1], rank)
    with torch.no_grad():
        layer.weight.copy_(torch.einsum("ab...,oa,ib->oi...", core, given, taken) / rank)
    return layer


LAYERS = {
    "linear": (lambda: nn.Linear(12, 20), (5, 12), [(12, 2), (2, 20)]),
    "wide": (lambda: nn.Linear(20, 12), (5, 20), [(20, 2), (2, 12)]),
    "tokens": (lambda: nn.Linear(12, 20, bias=False), (5, 3, 12), [(12, 2), (2, 20)]),
    "pixel": (lambda: nn.Conv2d(12, 20, 1, stride=2), (5, 12, 4, 4), [(12, 2), (2, 20)]),
    "square": (
        lambda: nn.Conv2d(12, 20, 3, stride=2, padding=2, dilation=2),
        (5, 12, 8, 8),
        [(12, 2), (2, 2), (2, 20)],
    ),
    "mirrored": (
        lambda: nn.Conv2d(12, 20, 3, padding="same", padding_mode="reflect", bias=False),
        (5, 12, 8, 8),
        [(12, 2), (2, 2), (2, 20)],
    ),
    "row": (lambda: nn.Conv1d(12, 20, 5, padding=2), (5, 12, 8), [(12, 2), (2, 2), (2, 20)]),
    "volume": (lambda: nn.Conv3d(12, 20, 3), (5, 12, 4, 4, 4), [(12, 2), (2, 2), (2, 20)]),
    "few inputs": (lambda: nn.Conv2d(2, 40, 3), (5, 2, 6, 6), [(2, 2), (2, 40)]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_low_rank_becomes_thinner_ones_that_compute_the_same(name: str, tmp_path: Path) -> None:
    make, shape, wanted = LAYERS[name]
    network = nn.Sequential(of_rank(make(), 2))
    split = random_split(*shape[1:], count=shape[0])
    model = model_of(network, split)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    random = torch.get_rng_state()
    made = LowRank(share=0.9999).apply(model, {}, lab_of(split, tmp_path))
    assert torch.equal(torch.get_rng_state(), random)
    assert made.module is not None
    assert made.applied == ("low_rank of 1 layers, for 0.9999 of the energy",)
    layers = list(made.module[0])  # type: ignore[arg-type]
    assert [tuple(layer.weight.shape[1::-1]) for layer in layers] == wanted
    assert torch.allclose(made.module(split.inputs), network(split.inputs), atol=1e-4)
    assert count_macs(made.module, model.inputs) < count_macs(network, model.inputs)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_the_contract_is_kept(tmp_path: Path) -> None:
    check_compression_pass(LowRank(share=(0.5, 1.0)), tmp_path)


def test_the_ranks_keep_the_share_of_the_energy(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(8, 8, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(
            torch.diag(torch.tensor([4.0, 2, 1, 1, 1, 1, 1, 1]))
        )  # energies 16, 4 and six of 1
    split = random_split(8)
    for share, rank in ((0.6, 1), (0.65, 2), (0.8, 3)):
        made = LowRank(share=share).apply(model_of(network, split), {}, lab_of(split, tmp_path)).module
        assert made is not None
        assert made[0][0].out_features == rank  # type: ignore[index]


def test_a_network_comes_back_and_the_largest_share_changes_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, split = residual_net(), random_split(1, 8, 8)
    recalibrate(network, [split.inputs])
    model, made_of = model_of(network, split), LowRank(share=(0.5, 1.0))
    space = Pipeline(made_of).space
    assert isinstance(made_of, CompressionPass)
    assert made_of.apply(model, space.largest(), lab_of(split, tmp_path)) is model
    made = made_of.apply(model, space.smallest(), lab_of(split, tmp_path))
    assert made.module is not None
    assert count_macs(made.module, model.inputs) < 0.8 * count_macs(network, model.inputs)
    back = apply_changes(network, describe_changes(network, made.module))
    back.load_state_dict(made.module.state_dict())
    assert torch.equal(back(split.inputs), made.module(split.inputs))
    with pytest.raises(SpaceError, match=r"low_rank\.share"):
        made_of.apply(model, {"low_rank.share": 0.6}, lab_of(split, tmp_path))


def test_layers_that_others_share_or_that_would_cost_more_stay(tmp_path: Path) -> None:
    first, second = of_rank(nn.Linear(12, 12), 2), of_rank(nn.Linear(12, 12), 2)
    second.weight = first.weight
    depthwise = nn.Conv1d(12, 12, 3, groups=12, padding=1)
    network = nn.Sequential(
        first, second, nn.Unflatten(1, (12, 1)), depthwise, nn.Flatten(), nn.Linear(12, 3)
    )
    split = random_split(12)
    made = LowRank(share=0.99).apply(model_of(network, split), {}, lab_of(split, tmp_path))
    assert made.module is not None
    assert [type(m) for m in made.module.modules()] == [type(m) for m in network.modules()]
    assert made.applied == ("low_rank of 0 layers, for 0.99 of the energy",)


def test_a_layer_at_two_places_stays_one(tmp_path: Path) -> None:
    layer = of_rank(nn.Linear(12, 12), 2)
    split = random_split(12)
    made = LowRank(share=0.99).apply(
        model_of(nn.Sequential(layer, layer), split), {}, lab_of(split, tmp_path)
    )
    assert made.module is not None
    assert made.module[0] is made.module[1]
    assert isinstance(made.module[0], nn.Sequential)


class Reading(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = of_rank(nn.Linear(12, 12), 2)

    def forward(self, rows: Tensor) -> Tensor:
        return rows @ self.layer.weight


def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path: Path) -> None:
    split = random_split(12)
    model = model_of(Reading(), split)
    with pytest.raises(ExportError, match="low_rank can't take Reading"):
        LowRank(share=0.9).apply(model, {}, lab_of(split, tmp_path))
    with pytest.raises(ExportError, match="'low_rank' works on a module"):
        LowRank(share=0.9).apply(Model(model.inputs), {}, lab_of(split, tmp_path))
    for share in (0, 1.1, (0.5, 0.9), "much"):
        with pytest.raises(StudyError, match="LowRank has share="):
            LowRank(share=share)  # type: ignore[arg-type]
