from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import VisionTransformer
from torchvision.models.swin_transformer import ShiftedWindowAttentionV2
from torchvision.ops.misc import Permute

from nas.evaluation import NetworkCounter
from nas.evaluation.counts import count_params
from nas.supernet import Supernet

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Hierarchical(nn.Module):
    """Splits its channels by a number that it keeps, as a Res2Net."""

    def __init__(self) -> None:
        super().__init__()
        self.width, self.stem = 16, nn.Conv2d(3, 48, 3)
        self.convs = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
        self.head = nn.Linear(48, 5)

    def forward(self, images: Tensor) -> Tensor:
        first, second, x = self.stem(images).relu().split(self.width, 1)
        second = self.convs[0](first + second).relu()
        x = torch.cat([first, second, self.convs[1](second + x).relu()], 1)
        return self.head(x.mean((2, 3)))


class Mixed(nn.Module):
    """Splits its channels by a list of numbers, as a MixNet; no two are equal or all are."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.sizes, self.stem = list(sizes), nn.Conv2d(3, sum(sizes), 3)
        self.convs = nn.ModuleList(nn.Conv2d(n, n, 2 * i + 1, padding=i) for i, n in enumerate(sizes))
        self.head = nn.Linear(sum(sizes), 5)

    def forward(self, images: Tensor) -> Tensor:
        parts = self.stem(images).relu().split(self.sizes, 1)
        return self.head(torch.cat([f(x) for f, x in zip(self.convs, parts, strict=True)], 1).mean((2, 3)))


class FromZero(nn.Module):
    """Makes the state that its LSTM starts from."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.lstm, self.head = 32, nn.LSTM(3 * 16, 32, batch_first=True), nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        zeros = torch.zeros(1, len(images), self.hidden)
        return self.head(self.lstm(images.transpose(1, 2).flatten(2), (zeros, zeros))[0][:, -1])


class Viewed(nn.Module):
    """Joins channels and pixels by a number."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.hidden, self.head = nn.Conv2d(3, 16, 4, 4), nn.Linear(256, 32), nn.Linear(32, 5)
        self.flat = 256

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.hidden(self.stem(images).view(-1, self.flat)).relu())


def decoder() -> nn.Module:
    """Makes images of a row of numbers."""
    head = nn.Conv2d(24, 3, 3, padding=1)
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 24 * 16), nn.Unflatten(1, (24, 4, 4)), nn.ReLU(), head)


def as_wide_as_its_images() -> nn.Module:
    return VisionTransformer(
        image_size=16, patch_size=8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=24, num_classes=5
    )


@pytest.mark.parametrize(
    ("make", "choice"),
    [
        (Hierarchical, "stem.width"),
        (partial(Mixed, 24, 16, 8), "stem.width"),
        (partial(Mixed, 16, 16), "stem.width"),
        (FromZero, "lstm.width"),
        (Viewed, "stem.width"),
        (decoder, "1.width"),
        (as_wide_as_its_images, "conv_proj.width"),
    ],
)
def test_numbers_that_modules_keep_follow_or_stay(make: Callable[[], nn.Module], choice: str) -> None:
    torch.manual_seed(0)
    model = make().eval()
    supernet = Supernet.from_module(model, IMAGES, multiple_of=4)
    assert choice in supernet.space.largest()
    assert not any("smaller one" in reason for row in supernet.report.rows for reason in row.reasons)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        torch.testing.assert_close(supernet(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-5)
        for architecture in [supernet.space.smallest(), *(supernet.space.sample(rng) for _ in range(3))]:
            plain = supernet.extract(architecture)
            assert type(plain) is type(model)
            with supernet.active(architecture):
                torch.testing.assert_close(supernet(IMAGES), plain(IMAGES), rtol=1e-5, atol=1e-6)


def test_what_is_extracted_keeps_the_numbers_that_are_right() -> None:
    torch.manual_seed(0)
    supernet = Supernet.from_module(as_wide_as_its_images(), IMAGES, multiple_of=4)
    plain = supernet.extract(supernet.space.smallest())
    assert (plain.image_size, plain.hidden_dim) == (16, 4)
    supernet = Supernet.from_module(Mixed(24, 16, 8), IMAGES, multiple_of=4)
    plain = supernet.extract(supernet.space.smallest())
    assert plain.sizes == [conv.in_channels for conv in plain.convs] == [12, 8, 4]
    supernet = Supernet.from_module(decoder(), IMAGES, multiple_of=4)
    plain = supernet.extract(supernet.space.smallest())
    assert plain[2].unflattened_size == (plain[4].in_channels, 4, 4) == (6, 4, 4)


def test_costs_behind_such_numbers_are_tabulated_exactly() -> None:
    torch.manual_seed(0)
    supernet = Supernet.from_module(Mixed(24, 16, 8), IMAGES, multiple_of=4).eval()
    counter = NetworkCounter(supernet, (3, 16, 16))
    assert counter.tables is not None
    rows = supernet.space.sample_indices(6, np.random.default_rng(0))
    counts = counter.counts(rows)
    for row, architecture in enumerate(supernet.space.from_indices(rows)):
        plain = supernet.extract(architecture)
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            plain(IMAGES[:1])
        assert counts.macs[row] == flops.get_total_flops() // 2
        assert counts.num_params[row] == count_params(plain)


def test_as_many_heads_as_coordinates_are_told_apart() -> None:
    torch.manual_seed(0)
    attention = ShiftedWindowAttentionV2(24, [4, 4], [0, 0], num_heads=2)
    last = (Permute([0, 3, 1, 2]), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5))
    model = nn.Sequential(nn.Conv2d(3, 24, 4, 4), Permute([0, 2, 3, 1]), attention, *last).eval()
    supernet = Supernet.from_module(model, IMAGES)
    assert supernet.space["2.heads"].options == (1, 2)
    small = {**supernet.space.largest(), "2.heads": 1}
    with supernet.active(small), torch.no_grad():
        torch.testing.assert_close(supernet(IMAGES), supernet.extract(small)(IMAGES), rtol=1e-5, atol=1e-6)
