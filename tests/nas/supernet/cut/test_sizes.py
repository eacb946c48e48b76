"""Numbers that modules keep of their channels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nas.supernet.cut.places import FEATURES
from nas.supernet.cut.sizes import keeps_known_sizes, shape_of, sizes_of


def halves(module: nn.Module, whole: int = 8) -> Any:
    """Return lengths of which those of dimensions of ``whole`` positions are half."""

    def length(name: str, dim: int) -> int:
        shape = (whole,) if name == FEATURES else getattr(module, name).shape
        return shape[dim] // 2 if shape[dim] == whole else int(shape[dim])

    return length


class Conv1D(nn.Module):
    """A linear layer whose weight is transposed, as that of transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.nx, self.nf = 8, 6
        self.weight = nn.Parameter(torch.zeros(8, 6))


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Linear(8, 6), {"out_features": 6, "in_features": 4}),
        (nn.Conv2d(6, 8, 3), {"out_channels": 4, "in_channels": 6}),
        (nn.ConvTranspose2d(8, 6, 3), {"out_channels": 6, "in_channels": 4}),
        (nn.Conv2d(8, 8, 3, groups=8), {"groups": 4, "in_channels": 4, "out_channels": 4}),
        (nn.Embedding(5, 8), {"embedding_dim": 4}),
        (nn.GRUCell(8, 6), {"input_size": 4, "hidden_size": 6}),
        (nn.LSTM(8, 6), {"input_size": 4, "hidden_size": 6}),
        (nn.BatchNorm1d(8), {"num_features": 4}),
        (nn.BatchNorm1d(8, affine=False, track_running_stats=False), {"num_features": 4}),
        (nn.PReLU(8), {"num_parameters": 4}),
        (nn.GroupNorm(1, 8), {"num_channels": 4}),
        (Conv1D(), {"nx": 4, "nf": 6}),
        (nn.ReLU(), {}),
    ],
)
def test_the_numbers_of_known_modules_follow_their_channels(
    module: nn.Module, expected: dict[str, int]
) -> None:
    assert sizes_of(module, halves(module)) == expected


class Own(nn.Module):
    """A module of a user's own."""

    def __init__(self, **numbers: object) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 6))
        for name, value in numbers.items():
            setattr(self, name, value)


def test_of_an_unknown_module_a_number_that_equals_a_length_is_that_length() -> None:
    own = Own(width=8, depth=6, other=7, name="8", half=8.0)
    assert sizes_of(own, halves(own)) == {"width": 4, "depth": 6}


def test_one_and_flags_and_what_two_dimensions_may_mean_are_left_alone() -> None:
    own = Own(stride=1, flag=True)
    own.weight = nn.Parameter(torch.zeros(8, 1))
    assert sizes_of(own, halves(own)) == {}
    square = Own(width=8)
    square.weight = nn.Parameter(torch.zeros(8, 8))
    assert sizes_of(square, lambda _name, dim: (4, 8)[dim]) == {}
    assert sizes_of(square, lambda _name, _dim: 4) == {"width": 4}


@pytest.mark.parametrize(
    ("module", "known"),
    [
        (nn.Linear(2, 2), True),
        (nn.MultiheadAttention(4, 2), True),
        (Conv1D(), True),
        (Own(width=8), False),
        (nn.LayerNorm(8), False),
    ],
)
def test_it_is_known_of_which_modules_sizes_are_guessed(module: nn.Module, known: bool) -> None:
    assert keeps_known_sizes(module) == known


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.LayerNorm(8), (4,)),
        (nn.LayerNorm((6, 8)), (6, 4)),
        (nn.LayerNorm(8, elementwise_affine=False), (4,)),
        (nn.LayerNorm((6, 8), elementwise_affine=False), None),  # nobody says which side is made of channels
        (nn.BatchNorm1d(8), None),
    ],
)
def test_the_shape_of_a_norm_follows_its_channels(
    module: nn.Module, expected: tuple[int, ...] | None
) -> None:
    assert shape_of(module, halves(module)) == expected
