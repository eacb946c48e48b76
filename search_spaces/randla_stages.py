"""Stages of RandLA-Net: an encoder layer, all that lies below it, and its decoder layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast, final

from torch import Tensor, nn
from torch.nn import functional as F

from nas.choices import Choice, Size, smaller
from nas.space import Condition
from nas.supernet import elastic
from search_spaces.dilated_residual import DilatedResidual, dense
from search_spaces.neighbours import Neighbourhood


class Fuse(nn.Module):
    """Features that come up from fewer points, joined with those that were left above (Hu 2020, figure 7).

    Both have weights of their own, which is one layer on both put together; so each keeps its leading slice. What
    comes up is multiplied before it is copied to more points, which gives the same.
    """

    def __init__(self, below: Size, skip: Size, outputs: Size, points: Size, kept: Size) -> None:
        super().__init__()
        self.below = elastic.Linear(below, outputs, bias=False, positions=kept)
        self.skip = elastic.Linear(skip, outputs, bias=False, positions=points)
        self.finish = nn.Sequential(elastic.BatchNorm1d(outputs), nn.LeakyReLU(0.2))

    def forward(self, below: Tensor, skip: Tensor, nearest: Tensor) -> Tensor:
        """``(n * kept, below)`` and ``(n * points, skip)`` to ``(n * points, outputs)``."""
        output: Tensor = self.finish(self.below(below).index_select(0, nearest) + self.skip(skip))
        return output


class Sizes(NamedTuple):
    """What is chosen of one stage.

    Args:
        points: Number of points of a cloud before it.
        kept: How many points of a cloud below it are kept.
        neighbours: Number of neighbours of a point.
        width: Width of its block, which makes four times as many features.
        below: Features of a point that come up from below.
        outputs: Features of a point that it gives back.
    """

    points: Size
    kept: Size
    neighbours: Size
    width: Size
    below: Size
    outputs: Size


@final
class Stage(nn.Module):
    """An encoder layer, all that lies below it, and the decoder layer that belongs to it.

    Args:
        number: Position of the stage, from 0.
        inputs: Features of a point before it.
        stages: How many stages the whole network has.
        layers: How many of them are in use.
    """

    def __init__(self, number: int, inputs: Size, stages: Sequence[Sizes], layers: Choice) -> None:
        super().__init__()
        sizes = stages[number]
        near = smaller(sizes.neighbours, sizes.points)
        self.is_first = number == 0
        self.neighbours = cast(int, near)
        self.kept = cast(int, sizes.kept)
        self.features = cast(int, 4 * sizes.width)
        self.search = Neighbourhood(sizes.points, near, sizes.kept)
        self.block = DilatedResidual(f"stage{number}", inputs, sizes.width, sizes.points, near)
        self.below = make_below(number, stages, layers)
        skip = 4 * sizes.width if self.is_first else inputs
        self.fuse = Fuse(sizes.below, skip, sizes.outputs, sizes.points, sizes.kept)

    def forward(self, coordinates: Tensor, features: Tensor) -> Tensor:
        """``(n, points, 3)`` and ``(n * points, inputs)`` to ``(n * points, outputs)``."""
        around = self.search(coordinates)
        encoded = self.block(features, around)
        chosen = around.near.view(coordinates.shape[0], -1)[:, : self.kept * self.neighbours].reshape(-1)
        gathered = encoded.index_select(0, chosen).view(-1, 1, self.neighbours, self.features)
        # The largest of each column; amax, which is the same, leaves ONNX Runtime's quantization without a shape.
        pooled = F.max_pool2d(gathered, (self.neighbours, 1)).view(-1, self.features)
        below = self.below(coordinates[:, : self.kept], pooled)
        fused: Tensor = self.fuse(below, encoded if self.is_first else features, around.kept)
        return fused


class Bottom(nn.Module):
    """What the lowest stage has below it: one layer on the points that are left."""

    def __init__(self, inputs: Size, outputs: Size, points: Size) -> None:
        super().__init__()
        self.layer = dense(inputs, outputs, points)

    def forward(self, coordinates: Tensor, features: Tensor) -> Tensor:
        """``(n * points, inputs)`` to ``(n * points, outputs)``."""
        output: Tensor = self.layer(features)
        return output


@final
class Below(nn.Module):
    """The bottom or one more stage, whichever the number of layers asks for; elastic depth.

    Args:
        number: Number of the stage above it.
        bottom: In use where that stage is the last.
        deeper: In use otherwise.
        layers: How many stages are in use.
    """

    def __init__(self, number: int, bottom: nn.Module, deeper: nn.Module, layers: Choice) -> None:
        super().__init__()
        self.number = number
        self.layers = cast(int, layers)
        self.bottom = bottom
        self.deeper = deeper

    def forward(self, coordinates: Tensor, features: Tensor) -> Tensor:
        """Run the one in use."""
        output: Tensor = self._active()(coordinates, features)
        return output

    def _active(self) -> nn.Module:
        return self.bottom if self.layers == self.number + 1 else self.deeper

    def conditional_blocks(self) -> list[tuple[str, nn.Module, tuple[Condition, ...]]]:
        """Return both with the conditions under which they are in use."""
        layers = cast(Choice, self.layers)
        last = (Condition(layers.name, (self.number + 1,)),)
        return [
            ("bottom", self.bottom, last),
            ("deeper", self.deeper, elastic.at_least(layers, self.number + 2)),
        ]

    def extract_blocks(self, copied: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return the one in use."""
        return copied(self._active())


def make_below(number: int, stages: Sequence[Sizes], layers: Choice) -> nn.Module:
    """Return what lies below a stage."""
    above = stages[number]
    bottom = Bottom(4 * above.width, above.below, above.kept)
    if number + 1 == len(stages):
        return bottom
    deeper = Stage(number + 1, 4 * above.width, stages, layers)
    return Below(number, bottom, deeper, layers) if number + 1 in layers.options else deeper
