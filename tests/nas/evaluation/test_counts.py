from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from fakes import tiny_block, tiny_network
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nas.choices import choice
from nas.evaluation import NetworkCounter
from nas.evaluation.counts import count_macs, count_params
from nas.supernet import Supernet, elastic, elastic_module
from search_spaces.convnet import convnet


class Attention(nn.Module):
    """Multiplies matrices of elastic size on its own."""

    def __init__(self) -> None:
        super().__init__()
        width = choice("width", 4, 8)
        self.project = elastic.Linear(12, width)
        self.out = elastic.Linear(width, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.project(images.flatten(2))
        mixed = torch.matmul(tokens @ tokens.transpose(1, 2), tokens)
        return self.out(mixed).mean(1)


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        return images + self.inner(images)


class Stem(nn.Module):
    """Only one rare option changes the image size, and with it the cost of everything behind."""

    def __init__(self) -> None:
        super().__init__()
        self.crop = choice("crop", *range(30))

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, :4, :4] if self.crop == 7 else images


def shared_block() -> nn.Module:
    width = choice("width", 2, 4)
    block = elastic.Conv2d(width, width, 3, padding="same")
    return nn.Sequential(
        elastic.Conv2d(3, width, 1),
        elastic.Repeat(lambda _: Residual(block), times=choice("depth", 1, 2, 3)),
        block,
        nn.Flatten(),
    )


def nested() -> nn.Module:
    def row(i: int) -> nn.Module:
        return elastic.Repeat(lambda j: tiny_block(2 * i + j, 3), times=choice(f"row{i}", 0, 1, 2))

    return nn.Sequential(elastic.Repeat(row, times=choice("rows", 0, 1, 2)), nn.Conv2d(3, 4, 3), nn.Flatten())


def plain_attention() -> nn.Module:
    """A torch attention layer, which torch would run fused, beside an elastic one."""
    return nn.Sequential(
        nn.Flatten(2),
        elastic.Linear(64, choice("w", 8, 16)),
        elastic.Linear(choice("w", 8, 16), 32),
        nn.TransformerEncoderLayer(32, 4, 64, batch_first=True),
        nn.Flatten(),
    )


class MakesConstant(nn.Module):
    """Adds a constant that lies on the CPU, always or where an option asks for it."""

    def __init__(self, when: object = True) -> None:
        super().__init__()
        self.when = when

    def forward(self, images: Tensor) -> Tensor:
        return images + torch.linspace(-1, 1, 8) * 0.1 if self.when else images


class ReadsValue(nn.Module):
    """Asks for a number of the activations."""

    def forward(self, images: Tensor) -> Tensor:
        return images * 2 if images.mean().item() > 1e9 else images


def with_module(module: nn.Module) -> nn.Module:
    width = choice("w", 2, 4)
    return nn.Sequential(elastic.Conv2d(3, width, 3, padding="same"), module, elastic.Conv2d(width, 5, 1))


class ConstantChannel(nn.Module):
    """Concatenates a channel that it makes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.second = nn.Conv2d(17, 16, 3, padding=1)
        self.last = nn.Conv2d(16, 5, 1)

    def forward(self, images: Tensor) -> Tensor:
        channel = torch.linspace(-1, 1, 8).expand(len(images), 1, 8, 8)
        found: Tensor = self.last(self.second(torch.cat([self.first(images), channel], 1)))
        return found


def linear_on_channels_last() -> nn.Module:
    class Permute(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.permute(0, 2, 3, 1)

    return nn.Sequential(Permute(), elastic.Linear(3, choice("w", 2, 4)), nn.Flatten())


def rare_option() -> nn.Module:
    return nn.Sequential(
        Stem(), elastic.Conv2d(3, choice("w", 2, 3), 3, padding="same"), nn.AdaptiveAvgPool2d(1)
    )


NETWORKS: list[Callable[[], nn.Module]] = [
    lambda: tiny_network(channels=3),
    lambda: convnet(10, 3, 8),
    shared_block,
    nested,
    linear_on_channels_last,
    plain_attention,
    rare_option,
    lambda: with_module(MakesConstant()),
    lambda: with_module(MakesConstant(choice("constant", True, False))),
    lambda: with_module(ReadsValue()),
    lambda: elastic_module(ConstantChannel(), torch.randn(2, 3, 8, 8)),
]


def all_rows(supernet: Supernet, limit: int) -> np.ndarray:
    """Return every row of option positions, or ``limit`` random ones."""
    if supernet.space.num_options.prod() <= limit:
        return np.array(list(itertools.product(*map(range, supernet.space.num_options))), dtype=np.int64)
    return supernet.space.sample_indices(limit, np.random.default_rng(0))


def torchs(supernet: Supernet, row: np.ndarray) -> tuple[int, int]:
    """Count with torch's counter alone, on a real device."""
    module = supernet.extract(supernet.space.from_indices(row[None])[0]).eval()
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 3, 8, 8))
    torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops() // 2, sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("make", NETWORKS)
def test_counts_equal_torchs_counter(make: Callable[[], nn.Module]) -> None:
    supernet = Supernet(make()).eval()
    rows = all_rows(supernet, 60)
    counts = NetworkCounter(supernet, (3, 8, 8)).counts(rows)
    got = list(zip(counts.macs.tolist(), counts.num_params.tolist(), strict=True))
    assert got == [torchs(supernet, row) for row in rows]


ORDINARY: list[Callable[[], nn.Module]] = [
    lambda: tiny_network(channels=3),
    lambda: convnet(10, 3, 8),
    nested,
    lambda: with_module(MakesConstant()),
]


class FirstPoints(nn.Module):
    """Keeps the first points of a cloud, and treats each by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Any = choice("count", 2, 4)
        self.layer = elastic.Linear(3, choice("width", 5, 7), positions=2 * self.count)

    def forward(self, clouds: Tensor) -> Tensor:
        kept = clouds[:, : self.count]
        output: Tensor = self.layer(torch.cat((kept, kept), 1))
        return output


def test_where_choices_decide_how_many_positions_there_are_tables_know_it() -> None:
    supernet = Supernet(FirstPoints())
    counter = NetworkCounter(supernet, (4, 3))
    assert counter.tables is not None
    rows = all_rows(supernet, 4)
    expected = [2 * a["count"] * 3 * a["width"] for a in supernet.space.from_indices(rows)]  # type: ignore[operator]
    assert counter.counts(rows).macs.tolist() == expected


@pytest.mark.parametrize("make", ORDINARY)
def test_ordinary_networks_are_counted_by_tables(make: Callable[[], nn.Module]) -> None:
    assert NetworkCounter(Supernet(make()), (3, 8, 8)).tables is not None


def test_a_network_whose_root_is_a_repeat_is_counted_by_tables() -> None:
    def block(position: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 3, 1), elastic.Conv2d(3, 3, choice(f"{position}", 1, 3), padding="same")
        )

    counter = NetworkCounter(Supernet(elastic.Repeat(block, times=choice("depth", 1, 2))), (3, 8, 8))
    assert counter.tables is not None


def test_matrix_products_of_elastic_size_fall_back_to_torch(caplog: pytest.LogCaptureFixture) -> None:
    supernet = Supernet(Attention())
    counter = NetworkCounter(supernet, (3, 4, 3))
    assert counter.tables is None
    assert "slow" in caplog.text
    counts = counter.counts(np.array([[0], [1]]))
    for macs, width in zip(counts.macs, (4, 8), strict=True):
        assert macs == 3 * 12 * width + 2 * 3 * 3 * width + 3 * width * 5
    assert counts.num_params.tolist() == [13 * w + (w + 1) * 5 for w in (4, 8)]


def test_counts_by_hand() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.Flatten(),
        nn.Linear(128, 10),
    ).eval()
    assert count_macs(module, (3, 8, 8)) == 8 * 3 * 9 * 16 + 128 * 10
    assert count_params(module) == 8 * 3 * 9 + 2 * 8 + 128 * 10 + 10


def test_fused_attention_does_not_count_as_nothing() -> None:
    """Torch counts neither the encoder's fast path nor, in 2.14.1, attention's kernel for the CPU."""
    layer = nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)).eval()
    tokens, width, hidden = 3, 16, 32
    by_hand = tokens * width * (3 * width + width + 2 * hidden) + 2 * tokens * tokens * width
    assert count_macs(layer, (3, 4, 4)) == by_hand


def test_counting_leaves_the_supernet_alone() -> None:
    supernet = Supernet(tiny_network())
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    counter = NetworkCounter(supernet, (1, 8, 8))
    counter.counts(supernet.space.sample_indices(10, np.random.default_rng(0)))
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())
    assert supernet.architecture == supernet.space.largest()


def test_an_inactive_choice_changes_no_count() -> None:
    supernet = Supernet(tiny_network())
    counter = NetworkCounter(supernet, (1, 8, 8))
    options = {"width": 4, "kernel": 3, "depth": 0, "0.kernel": 1, "1.kernel": 1}
    rows = supernet.space.indices([options, {**options, "0.kernel": 3, "1.kernel": 3}])
    counts = counter.counts(rows)
    assert counts.macs[0] == counts.macs[1]
    assert counts.num_params[0] == counts.num_params[1]


@pytest.mark.parametrize("make", [tiny_network, lambda: Attention()])
def test_no_rows_no_counts(make: Callable[[], nn.Module]) -> None:
    shape = (3, 4, 3) if make is not tiny_network else (1, 8, 8)
    supernet = Supernet(make())
    counts = NetworkCounter(supernet, shape).counts(
        np.zeros((0, len(supernet.space.choices)), dtype=np.int64)
    )
    assert counts.macs.shape == counts.num_params.shape == (0,)
