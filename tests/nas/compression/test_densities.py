from __future__ import annotations

import math

import pytest

from nas.compression.densities import anneal_drop, erk_densities, gradual_density, uniform_densities

LENET: list[tuple[int, ...]] = [(300, 784), (100, 300), (10, 100)]


def kept(shapes: list[tuple[int, ...]], densities: list[float]) -> float:
    sizes = [math.prod(shape) for shape in shapes]
    return sum(density * size for density, size in zip(densities, sizes, strict=True)) / sum(sizes)


def test_small_layers_keep_more() -> None:
    assert erk_densities(LENET, 0.1) == pytest.approx([0.0796, 0.2302, 1.0], abs=1e-4)
    assert uniform_densities(LENET, 0.1) == [0.1] * 3


@pytest.mark.parametrize("keep", [0.001, 0.02, 0.1, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("shapes", [LENET, LENET[:1], [(4, 4), (4, 4)], [(8, 1, 3, 3), (64, 512)]])
def test_the_layers_shares_add_up(shapes: list[tuple[int, ...]], keep: float) -> None:
    densities = erk_densities(shapes, keep)
    assert kept(shapes, densities) == pytest.approx(keep)
    assert all(0 < density <= 1 for density in densities)


def test_gradual_pruning_follows_the_cube() -> None:
    sparsities = [1 - gradual_density(0.1, step / 10) for step in range(12)]
    published = [0, 0.2439, 0.4392, 0.5913, 0.7056, 0.7875, 0.8424, 0.8757, 0.8928, 0.8991, 0.9, 0.9]
    assert sparsities == pytest.approx(published, abs=1e-4)


def test_the_exchange_falls_as_a_cosine() -> None:
    drops = [anneal_drop(0.3, progress) for progress in (0, 0.25, 0.5, 0.75, 1, 2)]
    assert drops == pytest.approx([0.3, 0.2561, 0.15, 0.0439, 0, 0], abs=1e-4)
