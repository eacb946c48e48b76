"""RandLA-Net's block: what lies around a point, weighed and added up."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from nas import choice
from nas.choices import Size
from nas.supernet import elastic
from search_spaces.neighbours import Surroundings

_ENCODING = 10
"""Numbers that say where a neighbour lies."""


def dense(inputs: Size, outputs: Size, positions: Size, *, active: bool = True) -> nn.Sequential:
    """Return a layer that treats every row alike, with batch norm: Hu's shared MLP."""
    layers: list[nn.Module] = [
        elastic.Linear(inputs, outputs, bias=False, positions=positions),
        elastic.BatchNorm1d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.LeakyReLU(0.2)] if active else []))


class Local(NamedTuple):
    """What a point knows of its surroundings.

    Args:
        encoding: ``(n * points * neighbours, width)`` of where each neighbour lies.
        features: ``(n * points, width)``.
        near: ``(n * points * neighbours,)`` rows of the neighbours.
    """

    encoding: Tensor
    features: Tensor
    near: Tensor


class Aggregate(nn.Module):
    """Attentive pooling of the neighbours' features and places (Hu 2020, section 3.3).

    Features and places are interleaved, not put one after the other: so the leading slice of both is a leading slice.

    Args:
        width: Features of a point, and numbers of the encoding.
        outputs: Features of a point afterwards.
        points: Number of points of a cloud.
        neighbours: Number of neighbours of a point.
    """

    def __init__(self, width: Size, outputs: Size, points: Size, neighbours: Size) -> None:
        super().__init__()
        self.neighbours = cast(int, neighbours)
        self.features = cast(int, 2 * width)
        self.score = elastic.Linear(2 * width, 2 * width, bias=False, positions=points * neighbours)
        self.mix = dense(2 * width, outputs, points)

    def forward(self, local: Local) -> Tensor:
        """Return ``(n * points, outputs)``."""
        gathered = local.features.index_select(0, local.near)
        around = torch.stack((local.encoding, gathered), 2).view(-1, self.features)
        weights = self._by_point(self.score(around)).softmax(1)
        pooled: Tensor = self.mix((self._by_point(around) * weights).sum(1))
        return pooled

    def _by_point(self, rows: Tensor) -> Tensor:
        return rows.view(-1, self.neighbours, self.features)


class ExtraUnit(nn.Module):
    """One more aggregation before the last, which widens a point's view (Hu 2020, figure 3)."""

    def __init__(self, width: Size, points: Size, neighbours: Size) -> None:
        super().__init__()
        self.aggregate = Aggregate(width, width, points, neighbours)
        self.encode = dense(width, width, points * neighbours)

    def forward(self, local: Local) -> Local:
        """Aggregate, and encode the places anew."""
        return Local(self.encode(local.encoding), self.aggregate(local), local.near)


class DilatedResidual(nn.Module):
    """Narrow, look around once or twice, widen; plus a projection of the input (Hu 2020, figure 3).

    Args:
        name: Prefix of the block's choices.
        inputs: Features of a point before.
        width: Inside the block; a quarter of the output, half of Hu's ``d_out``.
        points: Number of points of a cloud.
        neighbours: Number of neighbours of a point.
    """

    def __init__(self, name: str, inputs: Size, width: Size, points: Size, neighbours: Size) -> None:
        super().__init__()
        self.narrow = dense(inputs, width, points)
        self.encode = dense(_ENCODING, width, points * neighbours)
        self.extra = elastic.Repeat(
            lambda _: ExtraUnit(width, points, neighbours), times=choice(f"{name}.extra_units", 0, 1)
        )
        self.aggregate = Aggregate(width, 2 * width, points, neighbours)
        self.widen = dense(2 * width, 4 * width, points, active=False)
        self.shortcut = dense(inputs, 4 * width, points, active=False)
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, features: Tensor, around: Surroundings) -> Tensor:
        """``(n * points, inputs)`` to ``(n * points, 4 * width)``."""
        local = Local(self.encode(around.relative), self.narrow(features), around.near)
        wide = self.widen(self.aggregate(self.extra(local)))
        output: Tensor = self.activation(wide + self.shortcut(features))
        return output
