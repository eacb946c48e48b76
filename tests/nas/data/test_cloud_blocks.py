from __future__ import annotations

import math

import numpy as np
import pytest

from nas.data.cloud_blocks import Cloud, blocks_of, cut, thin_cloud
from nas.tasks.segmentation import IGNORED


def cloud(count: int, seed: int = 0) -> Cloud:
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, (40, 10, 5), (count, 3))
    return Cloud("tile", places, np.arange(count, dtype=float)[:, None], rng.integers(0, 3, count))


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4])
@pytest.mark.parametrize("count", [1, 7, 64, 65, 1000])
def test_every_point_is_in_one_block_and_blocks_are_of_equal_length(count: int, angle: float) -> None:
    blocks = cut(cloud(count).coordinates, 64, angle)
    assert len(blocks) == math.ceil(count / 64)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(count))
    lengths = [len(block) for block in blocks]
    assert max(lengths) <= 64
    assert max(lengths) - min(lengths) <= 1


def test_blocks_are_compact() -> None:
    """Sixteen blocks of a plane of 40 × 10 cover about 5 × 5 each."""
    places = cloud(1024).coordinates
    assert all((np.ptp(places[block, :2], axis=0) < 6.5).all() for block in cut(places, 64, 0.0))


def test_repeated_points_are_at_the_end_and_ignored() -> None:
    whole = cloud(100)
    inputs, targets = blocks_of(whole, 64, 1, np.random.default_rng(0))
    assert (inputs.shape, targets.shape) == ((2, 64, 4), (2, 64))
    assert (targets[:, 50:] == IGNORED).all()
    numbers = inputs[..., 3].astype(int)
    assert sorted(numbers[:, :50].reshape(-1).tolist()) == list(range(100))
    assert np.array_equal(targets[:, :50], whole.targets[numbers[:, :50]])
    assert np.array_equal(inputs[:, 50:], inputs[:, :14])


def test_the_first_points_are_a_random_sample() -> None:
    """In the order of the file they would be of one corner."""
    whole = cloud(4096)
    ordered = Cloud(
        "tile", whole.coordinates[np.argsort(whole.coordinates[:, 0])], whole.features, whole.targets
    )
    inputs, _ = blocks_of(ordered, 4096, 1, np.random.default_rng(0))
    assert abs(inputs[0, :512, 0].mean() - inputs[0, :, 0].mean()) < 2


def test_places_are_from_the_middle_and_heights_above_the_tiles_floor() -> None:
    whole = cloud(256)
    moved = Cloud(
        "tile", whole.coordinates + np.array([700_000, 6_000_000, 80]), whole.features, whole.targets
    )
    inputs, _ = blocks_of(moved, 64, 1, np.random.default_rng(0))
    np.testing.assert_allclose(inputs[..., :2].min(1), -inputs[..., :2].max(1), atol=1e-4)
    assert inputs[..., 2].min() == 0
    assert inputs[..., 2].max() > 4


def test_more_cuts_are_other_blocks_of_the_same_points() -> None:
    inputs, _ = blocks_of(cloud(128), 64, 3, np.random.default_rng(0))
    members = [set(block[:, 3].tolist()) for block in inputs]
    assert len(members) == 6
    assert members[0] | members[1] == members[2] | members[3]
    assert members[2] not in members[:2]


def test_thinning_by_hand() -> None:
    places = np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0.5], [2.5, 0, 0], [2.6, 0, 0]])
    found = thin_cloud(
        Cloud("tile", places, np.array([[0.0], [3], [6], [1], [2]]), np.array([1, 1, 2, 2, 0])), 1
    )
    np.testing.assert_allclose(found.coordinates, [[1 / 3, 0.5 / 3, 0.5 / 3], [2.55, 0, 0]])
    assert found.features[:, 0].tolist() == [3, 1.5]
    assert found.targets.tolist() == [1, 0]


def test_thinning_a_cloud_without_features() -> None:
    whole = cloud(50)
    found = thin_cloud(Cloud("tile", whole.coordinates, np.zeros((50, 0)), whole.targets), 5.0)
    assert found.features.shape == (len(found.coordinates), 0)
    assert len(found.coordinates) <= 16
