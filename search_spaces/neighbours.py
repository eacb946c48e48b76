"""Which points of a cloud are near each other, by operations that ONNX has."""

from __future__ import annotations

from typing import NamedTuple, cast, final

import torch
from torch import Tensor, nn

from nas.choices import Size

_MOST_DISTANCES = 2**18
"""Of one cloud to hold at a time: a megabyte stays in a processor's cache, which halves the time."""
_FEWEST_QUERIES = 256
"""At a time, because each turn becomes operators of its own in the exported file."""
_NOTHING = 1e-30
"""Square metres that are added, so that points of one place are told apart by their order too."""
_BEHIND = 2.0**-41
"""What a place in the order adds to a distance, relatively. Even 2^16 places are less than a float32 can tell apart,
and float64 holds them all."""


class Surroundings(NamedTuple):
    """What lies around the points of all clouds of a batch, which are the rows of one matrix.

    Args:
        near: ``(n * points * neighbours,)`` rows of the neighbours of each point, the nearest first: itself.
        relative: ``(n * points * neighbours, 10)`` where they lie (Hu 2020, equation 1): distance, difference, the
            point's coordinates and the neighbour's.
        kept: ``(n * points,)`` of the points that are kept, the row of the nearest to each.
    """

    near: Tensor
    relative: Tensor
    kept: Tensor


@final
class Neighbourhood(nn.Module):
    """Finds the neighbours of every point; holds no weights.

    Args:
        points: Of a cloud.
        neighbours: Of a point, itself among them; at most as many as there are points.
        kept: How many points are left after this stage: the first ones.
    """

    def __init__(self, points: Size, neighbours: Size, kept: Size) -> None:
        super().__init__()
        self.points = cast(int, points)
        self.neighbours = cast(int, neighbours)
        self.kept = cast(int, kept)

    @torch.no_grad()
    def forward(self, coordinates: Tensor) -> Surroundings:
        """Search ``(n, points, 3)`` coordinates."""
        near, kept = [], []
        for some in coordinates.split(rows_at_a_time(self.points), 1):
            squares = squared_distances(some, coordinates)
            near.append(nearest(squares, self.points, self.neighbours))
            kept.append(squares[..., : self.kept].argmin(-1, keepdim=True))
        rows = as_rows(torch.cat(near, 1), self.points)
        places = coordinates.reshape(-1, 3)
        there = places.index_select(0, rows)
        here = places.unsqueeze(1).expand(-1, self.neighbours, -1).reshape(-1, 3)
        gap = here - there
        distance = gap.square().sum(1, keepdim=True).sqrt()
        relative = torch.cat((distance, gap, here, there), 1)
        return Surroundings(rows, relative, as_rows(torch.cat(kept, 1), self.kept))


def rows_at_a_time(num_points: int) -> int:
    """Return for how many queries the distances to that many points are computed at a time."""
    return max(_FEWEST_QUERIES, _MOST_DISTANCES // num_points)


def nearest(squares: Tensor, num_points: int, count: int) -> Tensor:
    """Return ``(n, q, count)`` numbers of the points with the smallest ``(n, q, num_points)`` squares, smallest first.

    Of points that are equally far the first comes first, which torch alone doesn't promise.
    """
    order = torch.arange(num_points, dtype=torch.float64, device=squares.device)
    return ((squares.double() + _NOTHING) * (1 + _BEHIND * order)).topk(count, dim=-1, largest=False).indices


@torch.no_grad()
def nearest_one(queries: Tensor, points: Tensor, num_points: int) -> Tensor:
    """Return ``(n * q,)`` rows of the nearest of ``(n, num_points, 3)`` points to each of ``(n, q, 3)`` queries."""
    some = queries.split(rows_at_a_time(num_points), 1)
    found = [squared_distances(part, points).argmin(-1, keepdim=True) for part in some]
    return as_rows(torch.cat(found, 1), num_points)


def squared_distances(queries: Tensor, points: Tensor) -> Tensor:
    """Return ``(n, q, p)`` squares between ``(n, q, 3)`` and ``(n, p, 3)``.

    Without a matrix product: its rounding is another in every software, and a near tie would be decided otherwise.
    """
    gaps = [queries[..., axis].unsqueeze(2) - points[..., axis].unsqueeze(1) for axis in range(3)]
    return gaps[0] * gaps[0] + gaps[1] * gaps[1] + gaps[2] * gaps[2]


def as_rows(numbers: Tensor, num_points: int) -> Tensor:
    """Return ``(n, q, count)`` numbers of points as rows of a matrix of all clouds' points, flat."""
    first = num_points * torch.arange(numbers.shape[0], device=numbers.device)
    return (numbers + first.view(-1, 1, 1)).reshape(-1)
