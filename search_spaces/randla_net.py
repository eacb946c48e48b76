"""RandLA-Net for point clouds: elastic sampling, and elastic depth and width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast, final

from torch import Tensor, nn

from nas import choice
from nas.choices import Choice, Size
from nas.errors import SpaceError
from nas.supernet import elastic
from search_spaces.dilated_residual import dense
from search_spaces.neighbours import nearest_one
from search_spaces.randla_stages import Sizes, Stage

_DECIMATIONS = (2, 3, 4)
"""One in so many points goes on below; 4 in Hu 2020."""
_NEIGHBOURS = (4, 6, 8, 10, 12, 16)
"""Numbers of neighbours of a point; 16 in Hu 2020."""
_FEWEST_POINTS = 2
"""Points of a cloud at the bottom, so that batch norm of a single cloud has a spread."""


@final
class RandlaNet(nn.Module):
    """RandLA-Net (Hu 2020); see :func:`randla_net`.

    Args:
        stem: On each point by itself.
        stages: The first stage, which holds all others.
        head: On each point by itself, to a score for every class.
        points: How many of the points the network looks at, the first ones.
        given: How many points a cloud has.
        numbers: How many numbers a point has: coordinates and features.
        classes: Scores of a point.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: nn.Module,
        head: nn.Module,
        *,
        points: Size,
        given: int,
        numbers: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = stages
        self.head = head
        self.points = cast(int, points)
        self.given = given
        self.numbers = numbers
        self.classes = classes

    def forward(self, clouds: Tensor) -> Tensor:
        """``(n, given, 3 + features)`` to ``(n, classes, given)``."""
        seen = clouds[:, : self.points]
        places = seen[..., :3]
        scores = self.head(self.stages(places, self.stem(seen.reshape(-1, self.numbers))))
        if self.points < self.given:
            scores = scores.index_select(0, nearest_one(clouds[..., :3], places, self.points))
        output: Tensor = scores.view(-1, self.given, self.classes).transpose(1, 2)
        return output


def randla_net(
    classes: int,
    features: int = 0,
    points: int = 1024,
    stages: int = 4,
    first_width: int = 16,
    width: int = 64,
    neighbours: int = 16,
    dropout: float = 0.5,
) -> nn.Module:
    """Return the network: 1.6e16 architectures with four stages.

    Sampling, which changes no weight's shape: how many points of a cloud the network looks at, and in every stage how
    many neighbours a point has and which share of the points goes on below (``points``, ``stage?.neighbours``,
    ``stage?.decimation``). Architecture: the number of stages, and in every stage the width of its block, one or two
    aggregations, and the width of its decoder; the stem and the head (everything else). The largest options are Hu's
    network; a smaller decimation keeps more points below and costs more.

    Random sampling (Hu 2020, section 3.2) is by order: what is kept are the first points, so the data have to list the
    points of a cloud in random order, as :class:`nas.data.PointCloudFolder` does. The network's answer is then a
    function of its input alone. Points that a stage or the network leaves out get what the nearest one that is left
    has.

    Args:
        classes: Kinds of points.
        features: Numbers of a point beside its three coordinates.
        points: Number of points of a cloud.
        stages: At most; as many as two fewer can be chosen.
        first_width: Hu's ``d_out`` of the first stage's block, at most; its output has twice as many features.
        width: That of the second stage; each further one has twice as much as the one before.
        neighbours: Number of neighbours of a point at most, itself among them.
        dropout: Before the last layer, in training.

    Shape:
        ``(n, points, 3 + features)`` float32, coordinates first, to ``(n, classes, points)``.

    Raises:
        SpaceError: a cloud has fewer points than neighbours, or is too small for so many stages; or there are fewer
            than one stage or four neighbours.
    """
    if stages < 1 or neighbours < _NEIGHBOURS[0]:
        raise SpaceError(
            f"randla_net has stages={stages} and neighbours={neighbours}: at least 1 and {_NEIGHBOURS[0]} are needed."
        )
    widths = (first_width, *(width * 2**number for number in range(stages - 1)))
    counts = tuple(count for count in _NEIGHBOURS if count <= neighbours)
    kept = tuple(sorted({points * eighths // 8 for eighths in range(4, 9)}))
    _check_points(points, kept[0], counts[-1], stages)
    seen = choice("points", *kept)
    layers = choice("layers", *range(max(1, stages - 2), stages + 1))
    stem = choice("stem.width", 4, 6, 8)
    outer, inner = choice("head.outer", 16, 32, 48, 64), choice("head.inner", 8, 16, 24, 32)
    first = Stage(0, stem, _stages(seen, widths, counts), layers)
    head = nn.Sequential(
        dense(choice("decoder0.width", *_eighths(2 * widths[0])), outer, seen),
        dense(outer, inner, seen),
        nn.Dropout(dropout),
        elastic.Linear(inner, classes, positions=seen),
    )
    return RandlaNet(
        dense(3 + features, stem, seen),
        first,
        head,
        points=seen,
        given=points,
        numbers=3 + features,
        classes=classes,
    )


def _stages(seen: Choice, widths: Sequence[int], neighbours: Sequence[int]) -> list[Sizes]:
    # What comes up to a stage's points has as many features as went down to them (Hu 2020, figure 7).
    largest = [2 * widths[0], *(2 * width for width in widths)]
    decoders = [choice(f"decoder{n}.width", *_eighths(width)) for n, width in enumerate(largest)]
    stages: list[Sizes] = []
    points: Size = seen
    for number, width in enumerate(widths):
        kept = points // choice(f"stage{number}.decimation", *_DECIMATIONS)
        stages.append(
            Sizes(
                points,
                kept,
                choice(f"stage{number}.neighbours", *neighbours),
                choice(f"stage{number}.width", *_eighths(width // 2)),
                decoders[number + 1],
                decoders[number],
            )
        )
        points = kept
    return stages


def _eighths(largest: int) -> tuple[int, ...]:
    """Return widths from a quarter of the largest on, in eighths of it."""
    return tuple(sorted({max(1, round(largest * part / 8)) for part in range(2, 9)}))


def _check_points(points: int, fewest: int, neighbours: int, num_stages: int) -> None:
    if fewest < neighbours:
        raise SpaceError(
            f"clouds of {points} points, of which the network may look at {fewest}, are too small for {neighbours} "
            "neighbours: give it larger clouds, or fewer neighbours."
        )
    left = fewest // math.prod([max(_DECIMATIONS)] * num_stages)
    if left < _FEWEST_POINTS:
        raise SpaceError(
            f"clouds of {points} points have {left} left after {num_stages} stages and at least {_FEWEST_POINTS} are "
            "needed: give the network larger clouds, or fewer stages."
        )
