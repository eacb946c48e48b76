from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from search_spaces.neighbours import Neighbourhood, nearest, square_distances


def on_a_grid(count: int, seed: int = 0) -> Tensor:
    """Return clouds on whole numbers, in which many points are equally far and some lie in one place."""
    generator = torch.Generator().manual_seed(seed)
    clouds = torch.randint(0, 5, (count, 64, 3), generator=generator).float()
    return torch.cat((clouds, torch.randn(count, 64, 1, generator=generator)), 2)


def test_neighbours_are_the_nearest_and_of_equally_far_ones_the_first() -> None:
    places = on_a_grid(2)[..., :3]
    squares = (places[:, :, None].double() - places[:, None].double()).square().sum(-1).numpy()
    expected = np.argsort(squares, axis=-1, kind="stable")[..., :8]
    found = nearest(square_distances(places, places), 64, 8)
    assert np.array_equal(found.numpy(), expected)


def test_the_surroundings_of_a_point_by_hand() -> None:
    line = torch.tensor([[0.0, 0, 0], [4, 0, 0], [1, 0, 0], [6, 0, 0]])[None]
    around = Neighbourhood(points=4, neighbours=2, kept=2)(line)
    assert around.near.view(4, 2).tolist() == [[0, 2], [1, 3], [2, 0], [3, 1]]
    assert around.kept.tolist() == [0, 1, 0, 1]
    assert around.relative[1].tolist() == [1, -1, 0, 0, 0, 0, 0, 1, 0, 0]
