"""Which points of a cloud are near each other, by operations that ONNX has."""

from __future__ import annotations

from typing import NamedTuple, cast, final

import torch
from torch import Tensor, nn

from nas.choices import Size

_MOST_DISTANCES = 2**17
"""Distances to hold at a time: half a megabyte stays in a processor's cache, which saves a third of the time."""
_FEWEST_QUERIES = 64
"""Points to look for neighbours of at a time: each turn becomes operators of its own in an exported file."""
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
        points: Number of points of a cloud.
        neighbours: Number of neighbours of a point, itself among them; at most as many as there are points.
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
        for some in in_parts(coordinates, self.points):
            squares = square_distances(some, coordinates)
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


def in_parts(queries: Tensor, num_points: int) -> tuple[Tensor, ...]:
    """Return ``(n, q, 3)`` queries in parts whose distances to so many points are held at a time."""
    clouds = 1 if torch.onnx.is_in_onnx_export() else queries.shape[0]  # an exported file takes any number
    rows = max(_FEWEST_QUERIES, _MOST_DISTANCES // (num_points * max(1, clouds)))
    parts: tuple[Tensor, ...] = queries.split(rows, 1)
    return parts


def nearest(squares: Tensor, num_points: int, count: int) -> Tensor:
    """Return ``(n, q, count)`` numbers of the points with the smallest ``(n, q, num_points)`` squares, smallest first.

    Of points that are equally far the first comes first, which torch alone doesn't promise.
    """
    order = torch.arange(num_points, dtype=torch.float64, device=squares.device)
    ranks = squares.double().add_(_NOTHING).mul_(1 + _BEHIND * order)
    return ranks.topk(count, dim=-1, largest=False).indices


@torch.no_grad()
def nearest_one(queries: Tensor, points: Tensor, num_points: int) -> Tensor:
    """Return ``(n * q,)`` rows of the nearest of ``(n, num_points, 3)`` points to each of ``(n, q, 3)`` queries."""
    parts = in_parts(queries, num_points)
    found = [square_distances(part, points).argmin(-1, keepdim=True) for part in parts]
    return as_rows(torch.cat(found, 1), num_points)


def square_distances(queries: Tensor, points: Tensor) -> Tensor:
    """Return ``(n, q, p)`` squares between ``(n, q, 3)`` and ``(n, p, 3)``.

    Without a matrix product: its rounding is another in every software, and a near tie would be decided otherwise.
    """
    gaps = [queries[..., axis].unsqueeze(2) - points[..., axis].unsqueeze(1) for axis in range(3)]
    squares = [gap.mul_(gap) for gap in gaps]  # in place, because these are the largest tensors of all
    return squares[0].add_(squares[1]).add_(squares[2])


def as_rows(numbers: Tensor, num_points: int) -> Tensor:
    """Return ``(n, q, count)`` numbers of points as rows of a matrix of all clouds' points, flat."""
    first = num_points * torch.arange(numbers.shape[0], device=numbers.device)
    return (numbers + first.view(-1, 1, 1)).reshape(-1)
