"""Where channels lie in modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.supernet.cut.places import IN, OUT, axis_name, channel_dims, list_tensors, loses_groups, why_whole


class Holder(nn.Module):
    """Holds tensors of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(3)), None
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("ids", torch.arange(3))
        self.register_buffer("mean", torch.zeros(3, 1))
        self.register_buffer("mask", torch.eye(3).to_sparse())
        self.register_parameter("absent", None)
        self.below = nn.Linear(3, 3)


def test_tensors_of_channels_are_dense_floats_of_the_modules_own() -> None:
    assert [name for name, _ in list_tensors(Holder())] == ["weight", "mean"]


@pytest.mark.parametrize(
    ("module", "name", "expected"),
    [
        (nn.Linear(2, 3), "weight", [OUT, IN]),
        (nn.Linear(2, 3), "bias", [OUT]),
        (nn.Conv2d(2, 3, 5), "weight", [OUT, IN]),
        (nn.ConvTranspose1d(2, 3, 5), "weight", [IN, OUT]),
        (nn.ConvTranspose1d(2, 3, 5), "bias", [OUT]),
        (nn.Embedding(7, 3), "weight", [IN, OUT]),
        (nn.GRU(2, 3), "weight_ih_l0", [OUT, IN]),
        (nn.GRU(2, 3), "weight_hh_l0", [OUT, OUT]),
        (nn.BatchNorm2d(3), "running_mean", [OUT]),
    ],
)
def test_a_dimension_runs_along_what_is_taken_or_made(
    module: nn.Module, name: str, expected: list[str]
) -> None:
    dims = channel_dims(module, dict(list_tensors(module))[name])
    assert [axis_name(module, name, dim) for dim in dims] == expected


@pytest.mark.parametrize(("groups", "goes"), [(1, False), (2, False), (4, True), (8, True)])
def test_convolutions_of_many_groups_lose_them_whole(groups: int, goes: bool) -> None:
    assert loses_groups(groups) == goes
    layer = nn.Conv2d(8, 8, 3, groups=groups)
    assert list(channel_dims(layer, layer.weight)) == ([0] if goes else [0, 1])
    assert layer.bias is not None
    assert list(channel_dims(layer, layer.bias)) == [0]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Embedding(7, 3, max_norm=1.0), "an Embedding with max_norm"),
        (nn.EmbeddingBag(7, 3, max_norm=1.0), "an EmbeddingBag with max_norm"),
        (nn.LSTM(2, 3, proj_size=2), "a LSTM with proj_size"),
        (nn.Embedding(7, 3), None),
        (nn.LSTM(2, 3), None),
        (nn.Conv2d(2, 3, 1), None),
    ],
)
def test_what_must_stay_whole_says_why(module: nn.Module, said: str | None) -> None:
    found = why_whole(module)
    assert found is None if said is None else found is not None and said in found
