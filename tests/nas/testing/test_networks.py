from __future__ import annotations

from functools import partial

import pytest
import torch
from fakes import tiny_network
from torch import Tensor, nn

from nas import choice
from nas.supernet import elastic
from nas.tasks import Classification
from nas.testing import (
    check_network,
)


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


class OnlyJudged(nn.Module):
    """A layer through which no gradient passes in training."""

    def forward(self, outputs: Tensor) -> Tensor:
        return outputs.detach() if self.training else outputs


class TwoHeads(nn.Module):
    """A layer that gives other outputs in training."""

    def forward(self, outputs: Tensor) -> Tensor:
        return torch.cat([outputs, outputs], dim=1) if self.training else outputs


@pytest.mark.parametrize(
    ("last", "said"),
    [(OnlyJudged, "does not require grad"), (TwoHeads, r"in training: the output has shape \(4, 20\)")],
)
def test_a_network_that_can_not_be_trained_is_found(last: type[nn.Module], said: str) -> None:
    def make() -> nn.Module:
        width = choice("width", 2, 4)
        return nn.Sequential(nn.Flatten(), elastic.Linear(64, width), elastic.Linear(width, 10), last())

    with pytest.raises(AssertionError, match=f"^1 of .*\n.*can be trained: .*{said}"):
        check_network(make, (1, 8, 8), Classification(10), num_random=1)


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
    with pytest.raises(
        AssertionError,
        match=r"every option fits the inputs and the task: ShapeError: the network doesn't fit",
    ):
        check_network(tiny_network, (3, 8, 8), Classification(10))


def test_a_network_that_keeps_every_promise_passes() -> None:
    check_network(tiny_network, (1, 8, 8), Classification(10), num_random=2)
