"""Every kind of layer that may become elastic, each in a small network of its own."""

from __future__ import annotations

import copy
import functools
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from nas.evaluation import NetworkCounter
from nas.evaluation.counts import count_macs, count_params
from nas.inputs import InputSpec
from nas.supernet import Supernet, recalibrate


class Run(nn.Module):
    """Layers in a row, then a mean over positions and a classifier."""

    def __init__(self, *layers: nn.Module, width: int) -> None:
        super().__init__()
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(x)
        return self.head(x.flatten(2).mean(2) if x.ndim > 2 else x)


class NormAct(nn.BatchNorm2d):
    """A norm with an activation inside, as timm writes it."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.act = nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        return self.act(super().forward(input))


class ChannelNorm(nn.LayerNorm):
    """A layer norm of images."""

    def forward(self, input: Tensor) -> Tensor:
        x = input.permute(0, 2, 3, 1)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class RootMeanSquare(nn.Module):
    """A norm written by hand, which holds its width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.scale = width, nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == self.width
        return x * x.square().mean(1, keepdim=True).add(1e-6).rsqrt() * self.scale.view(1, -1, 1, 1)


class Response(nn.Module):
    """Global response normalisation (ConvNeXt V2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma, self.beta = (nn.Parameter(torch.zeros(1, width, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        size = x.norm(p=2, dim=(2, 3), keepdim=True)
        return x + self.gamma * (x * size / (size.mean(1, keepdim=True) + 1e-6)) + self.beta


class Same(nn.Conv2d):
    """A convolution with a forward of its own."""

    def forward(self, input: Tensor) -> Tensor:
        x = F.pad(input, (1, 1, 1, 1))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Standardized(nn.Conv2d):
    """A convolution whose weights are normalised anew each time."""

    def forward(self, input: Tensor) -> Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, training=True, momentum=0.0).reshape_as(self.weight)
        return F.conv2d(input, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Scaled(nn.Module):
    """A block with layer scale, a parameter of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, 32, 1), nn.GELU(), nn.Conv2d(32, width, 1))
        self.gamma = nn.Parameter(0.1 * torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.body(x)


class Tokens(nn.Module):
    """Position embeddings and a class token, parameters of the network's own."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 24
        self.patches = nn.Conv2d(3, 24, 2, 2)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, 24)), nn.Parameter(torch.randn(1, 10, 24))
        self.norm, self.hidden, self.back = nn.LayerNorm(24), nn.Linear(24, 40), nn.Linear(40, 24)
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).reshape(len(x), self.width, -1).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        x = x + self.back(F.gelu(self.hidden(self.norm(x))))
        return self.head(x[:, 0])


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], *, layers: int = 1, bidirectional: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.recurrent = kind(16, 24, layers, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(48 if bidirectional else 24, 5)

    def forward(self, ids: Tensor) -> Tensor:
        made: Tensor = self.recurrent(self.embed(ids))[0]
        return self.head(made[:, -1])


class Stepwise(nn.Module):
    """A recurrent cell, called in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.cell, self.head = nn.Embedding(20, 16), nn.GRUCell(16, 24), nn.Linear(24, 5)

    def forward(self, ids: Tensor) -> Tensor:
        state = torch.zeros(len(ids), self.cell.hidden_size)
        for step in self.embed(ids).unbind(1):
            state = self.cell(step, state)
        return self.head(state)


class Tied(nn.Module):
    """The last layer uses the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.hidden = nn.Embedding(20, 24), nn.Linear(24, 24)
        self.head = nn.Linear(24, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(F.relu(self.hidden(self.embed(ids)))).mean(1)


class Shuffled(nn.Module):
    """Channels are split, and shuffled by a view, as in ShuffleNet."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.branch = nn.Conv2d(3, 32, 1), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.last, self.head = nn.Conv2d(32, 24, 1), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        left, right = F.relu(self.first(x)).chunk(2, 1)
        x = torch.cat([left, self.branch(right)], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(F.relu(self.last(x)).mean((2, 3)))


IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
SIGNALS, VOLUMES = IMAGES.flatten(2), IMAGES[..., None].expand(-1, -1, -1, -1, 4).contiguous()
IDS = torch.tensor([[1, 2, 3], [5, 6, 7]])


def images(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: Run(nn.Conv2d(3, 32, 3, padding=1), *layers, nn.ReLU(), nn.Conv2d(32, 24, 1), width=24)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Tensor, set[str]]] = {
    "signals": (
        lambda: Run(
            nn.Conv1d(3, 32, 3), nn.BatchNorm1d(32), nn.ConvTranspose1d(32, 24, 3, 2), nn.PReLU(24), width=24
        ),
        SIGNALS,
        {"layers.0", "layers.1", "layers.2", "layers.3", "head"},
    ),
    "volumes": (
        lambda: Run(
            nn.Conv3d(3, 32, 3),
            nn.BatchNorm3d(32),
            nn.ConvTranspose3d(32, 24, 2),
            nn.InstanceNorm3d(24),
            width=24,
        ),
        VOLUMES,
        {"layers.0", "layers.1", "layers.2", "layers.3", "head"},
    ),
    "transposed": (
        lambda: Run(
            nn.Conv2d(3, 32, 1),
            nn.ConvTranspose2d(32, 48, 2, groups=4),
            nn.ReLU(),
            nn.Conv2d(48, 24, 1),
            width=24,
        ),
        IMAGES,
        {"layers.0", "layers.1", "layers.3", "head"},
    ),
    "grouped": (images(nn.Conv2d(32, 32, 3, groups=8), nn.BatchNorm2d(32)), IMAGES, {"layers.1", "layers.2"}),
    "few groups": (
        images(nn.Conv2d(32, 32, 3, groups=2), nn.ConvTranspose2d(32, 32, 2, groups=2), nn.BatchNorm2d(32)),
        IMAGES,
        {"layers.0", "layers.1", "layers.2", "layers.3", "layers.5"},
    ),
    "depthwise": (
        lambda: Run(nn.Conv2d(3, 24, 1), nn.Conv2d(24, 48, 3, groups=24), nn.Conv2d(48, 24, 1), width=24),
        IMAGES,
        {"layers.0", "layers.1", "layers.2"},
    ),
    "group norm": (images(nn.GroupNorm(8, 32)), IMAGES, {"layers.0", "layers.1", "layers.3", "head"}),
    "one group": (images(nn.GroupNorm(1, 32, affine=False)), IMAGES, {"layers.0", "layers.1"}),
    "groups without weights": (images(nn.GroupNorm(4, 32, affine=False)), IMAGES, {"layers.0", "layers.1"}),
    "instance norm": (images(nn.InstanceNorm2d(32, affine=True)), IMAGES, {"layers.0", "layers.1"}),
    "norm with activation": (images(NormAct(32)), IMAGES, {"layers.0", "layers.1"}),
    "layer norm of images": (images(ChannelNorm(32)), IMAGES, {"layers.0", "layers.1"}),
    "layer norm without weights": (
        lambda: Run(
            nn.Linear(6, 32), nn.LayerNorm(32, elementwise_affine=False), nn.Linear(32, 24), width=24
        ),
        IMAGES[:, 0, 0],
        {"layers.0", "layers.1", "layers.2"},
    ),
    "rms norm": (
        lambda: Run(nn.Linear(6, 32), nn.RMSNorm(32), nn.Linear(32, 24), width=24),
        IMAGES[:, 0, 0],
        {"layers.0", "layers.1", "layers.2"},
    ),
    "rms norm by hand": (images(RootMeanSquare(32)), IMAGES, {"layers.0", "layers.1"}),
    "response norm": (images(Response(32)), IMAGES, {"layers.0", "layers.1"}),
    "own convolution": (images(Same(32, 32, 3)), IMAGES, {"layers.0", "layers.1", "layers.3"}),
    "standardized": (images(Standardized(32, 32, 3)), IMAGES, {"layers.0", "layers.1", "layers.3"}),
    "weight norm": (images(weight_norm(nn.Conv2d(32, 32, 3))), IMAGES, {"layers.0", "layers.3"}),
    "layer scale": (images(Scaled(32), Scaled(32)), IMAGES, {"layers.0", "layers.1", "layers.1.body.0"}),
    "tokens": (Tokens, IMAGES, {"", "patches", "norm", "hidden", "back", "head"}),
    "lstm": (lambda: Recurrent(nn.LSTM, layers=2, bidirectional=True), IDS, {"embed", "recurrent", "head"}),
    "gru": (lambda: Recurrent(nn.GRU), IDS, {"embed", "recurrent", "head"}),
    "rnn": (lambda: Recurrent(nn.RNN, layers=2), IDS, {"embed", "recurrent", "head"}),
    "cell": (Stepwise, IDS, {"embed", "cell", "head"}),
    "tied": (Tied, IDS, {"embed", "hidden", "head"}),
    "shuffled": (Shuffled, IMAGES, {"first", "branch", "last", "head"}),
    "pixels": (images(nn.PixelShuffle(2), nn.PixelUnshuffle(2)), IMAGES, {"layers.0", "layers.4"}),
}


@functools.cache
def converted(name: str) -> tuple[nn.Module, Supernet, Tensor]:
    make, example, _ = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = make().eval()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for tensor in dict.fromkeys([*network.parameters(), *network.buffers()]):
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator))
    return network, Supernet.from_module(network, example), example


@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_is_elastic_and_every_subnet_is_exact(name: str) -> None:
    network, supernet, example = converted(name)
    report = supernet.report
    assert report is not None
    assert {row.path for row in report.elastic} >= NETWORKS[name][2]
    counter = NetworkCounter(supernet, InputSpec.of_one(tuple(example.shape[1:]), example.dtype))
    assert counter.tables is not None or name == "weight norm"  # whose matrix isn't the layer's own
    with torch.no_grad():
        torch.testing.assert_close(supernet(example), network(example), rtol=1e-5, atol=1e-5)
    rows = [supernet.space.smallest(), supernet.space.largest()]
    rows += [supernet.space.sample(np.random.default_rng(seed)) for seed in range(3)]
    counts = counter.counts(supernet.space.indices(rows))
    for row, architecture in enumerate(rows):
        plain = supernet.extract(architecture)
        assert type(plain) is type(network)
        assert {type(m) for m in plain.modules()} <= {nn.Identity, *(type(m) for m in network.modules())}
        assert plain.state_dict().keys() <= network.state_dict().keys()
        with supernet.active(architecture), torch.no_grad():
            torch.testing.assert_close(supernet(example), plain(example), rtol=1e-6, atol=1e-6)
        assert counts.macs[row] == count_macs(
            plain, InputSpec.of_one(tuple(example.shape[1:]), example.dtype)
        )
        assert counts.num_params[row] == count_params(plain)


@pytest.mark.parametrize("name", NETWORKS)
def test_subnets_train_and_what_is_extracted_is_exported(name: str) -> None:
    network, supernet, example = converted(name)
    supernet, smallest = copy.deepcopy(supernet), supernet.space.smallest()
    with supernet.train().active(smallest):
        supernet(example).square().sum().backward()
        recalibrate(supernet, [example])
    assert all(p.grad is None or p.grad.shape == p.shape for p in supernet.parameters())
    keys = [key.removeprefix("module.module.").replace(".block.", ".") for key in supernet.state_dict()]
    assert keys == list(network.state_dict())
    plain = supernet.eval().extract(smallest)
    plain(example).sum().backward()
    assert sum(p.numel() for p in plain.parameters()) < sum(p.numel() for p in network.parameters())
    if name != "rms norm":  # which that exporter doesn't know
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(plain, (example,), io.BytesIO(), dynamo=False)


def test_what_is_extracted_is_exported_by_torchs_newer_exporter_too() -> None:
    _, supernet, example = converted("tokens")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            supernet.eval().extract(supernet.space.smallest()), (example,), dynamo=True, verbose=False
        )
    assert program.model.graph


@pytest.mark.parametrize(
    ("name", "choice", "options"),
    [
        ("group norm", "layers.0.width", (8, 16, 24, 32)),
        ("grouped", "layers.0.width", (8, 16, 24, 32)),
        ("transposed", "layers.0.width", (8, 16, 24, 32)),
        ("depthwise", "layers.0.width", (8, 16, 24)),
        ("pixels", "layers.0.width", (8, 16, 24, 32)),
    ],
)
def test_channels_that_go_together_are_counted_in_channels(
    name: str, choice: str, options: tuple[int, ...]
) -> None:
    _, supernet, _ = converted(name)
    assert supernet.space[choice].options == options


def test_sizes_that_a_layer_holds_follow() -> None:
    _, supernet, _ = converted("transposed")
    plain = supernet.extract(supernet.space.architecture({**supernet.space.largest(), "layers.0.width": 16}))
    layer = plain.layers[1]  # type: ignore[index]
    assert (layer.in_channels, layer.out_channels, layer.groups) == (16, 24, 2)
    _, supernet, _ = converted("group norm")
    norm = supernet.extract(supernet.space.smallest()).layers[1]  # type: ignore[index]
    assert (norm.num_channels, norm.num_groups) == (8, 2)
    _, supernet, _ = converted("layer norm of images")
    assert supernet.extract(supernet.space.smallest()).layers[1].normalized_shape == (8,)  # type: ignore[index]
    _, supernet, _ = converted("tied")
    tied = supernet.extract(supernet.space.smallest())
    assert tied.head.weight is tied.embed.weight
