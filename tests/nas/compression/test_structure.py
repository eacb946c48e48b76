from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.compression.structure import apply_changes, describe_changes
from nas.errors import ExportError
from nas.supernet import Supernet
from nas.supernet.attention import Attention
from search_spaces.convnet import convnet
from search_spaces.text_transformer import text_transformer

IMAGES = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
IDS = torch.randint(0, 50, (2, 6), generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """A block whose sizes are attributes of its own too, with a bare parameter and a buffer."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.width, self.groups = width, groups
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=groups)
        self.norm = nn.GroupNorm(groups, width)
        self.scale = nn.Parameter(torch.rand(width, 1, 1))
        self.register_buffer("shift", torch.rand(width, 1, 1))
        self.shortcut = None

    def forward(self, inputs: Tensor) -> Tensor:
        rows = self.norm(self.conv(inputs)).view(-1, self.width, *inputs.shape[2:])
        return inputs + self.scale * rows + self.shift


def residual_net(width: int, groups: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, bias=False),
        nn.BatchNorm2d(width),
        Residual(width, groups),
        nn.ConvTranspose2d(width, width, 2, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(width),
        nn.Linear(width, 3),
    )


def low_rank_net() -> nn.Module:
    net = residual_net(8)
    net[2].conv = nn.Sequential(nn.Conv2d(8, 2, 1, bias=False), nn.Conv2d(2, 8, 3, padding="same"))
    net[3], net[7] = nn.Identity(), nn.Sequential(nn.Linear(8, 2, bias=False), nn.Linear(2, 3))
    return net


def subnets(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return the largest subnet and one of the same depth."""
    supernet = Supernet(network)
    largest = supernet.space.largest()
    drawn = supernet.space.sample(np.random.default_rng(0))
    depths = {name: largest[name] for name in largest if name.endswith("depth")}
    return supernet.extract(largest), supernet.extract(supernet.space.architecture({**drawn, **depths}))


def tied(width: int) -> nn.Module:
    """Return a network that uses one layer twice, and one tensor in two layers."""
    layer = nn.Linear(width, width)
    net = nn.Sequential(nn.Linear(64, width), layer, nn.ReLU(), layer, nn.Linear(width, width))
    net[4].weight = net[1].weight
    return nn.Sequential(nn.Flatten(), net)


class Attending(nn.Module):
    def __init__(self, attention: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, width)
        self.attention = attention

    def forward(self, ids: Tensor) -> Tensor:
        tokens = self.embedding(ids)
        return self.attention(tokens, tokens, tokens)[0]


PAIRS: dict[str, Callable[[], tuple[nn.Module, nn.Module, Tensor]]] = {
    "widths": lambda: (residual_net(8), residual_net(6), IMAGES),
    "groups": lambda: (residual_net(8), residual_net(6, groups=2), IMAGES),
    "low rank": lambda: (residual_net(8), low_rank_net(), IMAGES),
    "convnet": lambda: (*subnets(convnet(classes=3, channels=1, resolution=8)), IMAGES),
    "text": lambda: (*subnets(text_transformer(classes=3, num_tokens=50, length=6)), IDS),
    "tied": lambda: (tied(8), tied(6), IMAGES),
    "attention": lambda: (
        Attending(nn.MultiheadAttention(8, 4, batch_first=True)),
        Attending(Attention((8, 8, 8, 8), 3, 2)),
        IDS,
    ),
    "narrow attention": lambda: (
        Attending(nn.MultiheadAttention(8, 4)),
        Attending(nn.MultiheadAttention(6, 2), 6),
        IDS,
    ),
    "nothing": lambda: (residual_net(8), residual_net(8), IMAGES),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_structure_comes_back_and_takes_the_weights(name: str) -> None:
    torch.manual_seed(0)
    before, after, inputs = PAIRS[name]()
    shapes = [p.shape for p in before.parameters()]
    random = torch.get_rng_state()
    changes = json.loads(json.dumps(describe_changes(before, after), sort_keys=True))
    made = apply_changes(before, changes)
    made.load_state_dict(after.state_dict())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(made.eval()(inputs), after.eval()(inputs))
    assert [p.shape for p in before.parameters()] == shapes
    assert [type(m) for m in made.modules()] == [type(m) for m in after.modules()]
    assert describe_changes(after, made) == describe_changes(before, before)


def test_a_bias_that_came_or_went_comes_back() -> None:
    without, having = nn.Sequential(nn.Linear(2, 2, bias=False)), nn.Sequential(nn.Linear(2, 2))
    for before, after in ((without, having), (having, without)):
        apply_changes(before, describe_changes(before, after)).load_state_dict(after.state_dict())


class Turned(nn.Module):
    """Keeps sizes where no record looks."""

    def __init__(self, width: int, *, stored: bool = True) -> None:
        super().__init__()
        if stored:
            self.table = torch.rand(width)
        else:
            self.register_buffer("table", torch.full((3,), float(width)), persistent=False)


def shared(width: int, *, is_tied: bool) -> nn.Module:
    net = nn.Sequential(nn.Linear(width, width), nn.Linear(width, width))
    if is_tied:
        net[1].weight = net[0].weight
    return net


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        (nn.Sequential(nn.Linear(2, 2)), nn.Sequential(Turned(2)), ["'0'", "Turned"]),
        (nn.Linear(2, 2), nn.ReLU(), ["network itself", "ReLU"]),
        (nn.Sequential(Turned(3)), nn.Sequential(Turned(2)), ["'table'", "'0'"]),
        (nn.Sequential(Turned(3, stored=False)), nn.Sequential(Turned(2, stored=False)), ["'table'", "'0'"]),
        (shared(4, is_tied=True), shared(3, is_tied=False), ["'0.weight'"]),
        (shared(4, is_tied=False), shared(3, is_tied=True), ["'0.weight'"]),
        (nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2).double()), ["'0.weight'", "float64"]),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_named(before: nn.Module, after: nn.Module, names: list[str]) -> None:
    with pytest.raises(ExportError) as raised:
        describe_changes(before, after)
    assert all(name in str(raised.value) for name in names)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layers": 3}, "layers is 3"),
        ({"layers": [{"name": "0", "kind": "System", "arguments": {}}]}, "System at '0'"),
        ({"layers": [{"name": "9.0", "kind": "ReLU", "arguments": {}}]}, "'9'"),
        ({"layers": [{"name": "0", "kind": "Linear", "arguments": {"out_features": 3}}]}, "in_features"),
        ({"layers": [{"name": "0", "kind": "Linear", "arguments": {"in_features": -1, "out_features": 3}}]}, "'0'"),
        ({"attributes": {"9": {"width": 3}}}, "'9'"),
        ({"attributes": {"0": {"_modules": 3}}}, "'_modules'"),
        ({"tensors": {"0.wait": [3]}}, "'0.wait'"),
        ({"tensors": {"0.weight": [-3]}}, "'0.weight'"),
    ],
)  # fmt: skip
def test_a_record_that_does_not_fit_is_refused(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ExportError, match="changes") as raised:
        apply_changes(nn.Sequential(nn.Linear(2, 2)), changes)
    assert named in str(raised.value)
