"""Clouds of any size as blocks of a fixed number of points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas.space import FloatArray, IntArray
from nas.tasks.segmentation import IGNORED


@final
@dataclass(frozen=True)
class Cloud:
    """The points of one tile.

    Args:
        name: Name of the tile.
        coordinates: ``(n, 3)``.
        features: ``(n, num_features)``.
        targets: ``(n,)`` classes, or ``IGNORED``.
    """

    name: str
    coordinates: FloatArray
    features: FloatArray
    targets: IntArray


def thin_cloud(cloud: Cloud, cell: float) -> Cloud:
    """Return one point for every cube of a grid that holds any: the mean place and features, the commonest target.

    As the code of Hu 2020 does it. Of equally common targets the smallest number is taken.
    """
    cells = np.floor((cloud.coordinates - cloud.coordinates.min(0)) / cell).astype(np.int64)
    _, cube, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    cube = cube.reshape(-1)

    def mean(values: FloatArray) -> FloatArray:
        sums = [np.bincount(cube, column, len(counts)) for column in values.T]
        return np.stack(sums, 1) / counts[:, None] if sums else np.zeros((len(counts), 0))

    pairs, votes = np.unique(cube * (IGNORED + 1) + cloud.targets, return_counts=True)
    order = np.lexsort((pairs, -votes, pairs // (IGNORED + 1)))
    first = np.unique(pairs[order] // (IGNORED + 1), return_index=True)[1]
    return Cloud(
        cloud.name, mean(cloud.coordinates), mean(cloud.features), pairs[order][first] % (IGNORED + 1)
    )


def cut(coordinates: FloatArray, points: int, angle: float) -> list[IntArray]:
    """Return the rows of blocks of at most so many points, of equal length up to one, that have every point once.

    The plane is halved again and again across its longer side. Heights don't matter, so that a block holds all that
    stands above its ground.

    Args:
        coordinates: ``(n, 3)``.
        points: How many points a block has.
        angle: In radians, by which the plane is turned before.
    """
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    plane = coordinates[:, :2] @ turn

    def halve(rows: IntArray, count: int) -> list[IntArray]:
        if count == 1:
            return [rows]
        place = plane[rows]
        axis = int(np.argmax(np.ptp(place, axis=0)))
        ordered = rows[np.argsort(place[:, axis], kind="stable")]
        left = count // 2
        middle = round(len(rows) * left / count)
        return halve(ordered[:middle], left) + halve(ordered[middle:], count - left)

    return halve(np.arange(len(plane)), math.ceil(len(plane) / points))


def blocks_of(
    cloud: Cloud, points: int, cuts: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return ``(n, points, 3 + num_features)`` inputs and ``(n, points)`` targets.

    The points of a block are in random order, so that the first ones are a random sample. Where a block has fewer
    than its number, points are repeated at the end and ignored. Heights are above the tile's lowest point, places from
    the middle of the block.

    Args:
        cloud: One tile.
        points: How many points a block has.
        cuts: How often the tile is cut into blocks, each time turned by another angle.
        rng: Random generator of the order of points.
    """
    inputs, targets = [], []
    floor = cloud.coordinates[:, 2].min()
    for turn in range(cuts):
        for block in cut(cloud.coordinates, points, math.pi / 2 * turn / cuts):
            rows = rng.permutation(block)
            repeated = np.resize(rows, points)
            places = cloud.coordinates[repeated]
            low, high = places[:, :2].min(0), places[:, :2].max(0)
            origin = np.array([*((low + high) / 2), floor])
            inputs.append(np.concatenate((places - origin, cloud.features[repeated]), 1).astype(np.float32))
            found = cloud.targets[repeated].astype(np.uint8)
            found[len(rows) :] = IGNORED
            targets.append(found)
    return np.stack(inputs), np.stack(targets)
