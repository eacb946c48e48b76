from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from nas.errors import ShapeError
from nas.supernet import Supernet
from nas.tasks import Classification
from nas.testing import check_network
from search_spaces.convnet import convnet


def test_the_contract_is_kept() -> None:
    check_network(
        partial(convnet, classes=10, channels=1, resolution=8), (1, 8, 8), Classification(10), num_random=4
    )


@pytest.mark.parametrize(
    ("resolution", "channels"),
    [
        (8, 1),
        (8, 3),
        (9, 1),
        (28, 1),
        (31, 3),
        (32, 1),
        (32, 3),
        (63, 3),
        (64, 1),
        (127, 3),
        (128, 1),
        (224, 3),
    ],
)
def test_images_of_8_to_224_pixels_fit(resolution: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    with torch.device("meta"):
        supernet = Supernet(convnet(classes=7, channels=channels, resolution=resolution)).eval()
        images = torch.empty(2, channels, resolution, resolution)
        space = supernet.space
        for architecture in (space.smallest(), space.largest(), *(space.sample(rng) for _ in range(4))):
            with supernet.active(architecture):
                assert supernet(images).shape == (2, 7)


@pytest.mark.parametrize("resolution", [32, 128])
def test_every_option_of_the_deeper_networks_fits(resolution: int) -> None:
    with torch.device("meta"):
        supernet = Supernet(convnet(classes=7, resolution=resolution))
        supernet.check_shapes((3, resolution, resolution), Classification(7))


@pytest.mark.parametrize(
    ("resolution", "cardinality"), [(8, 1_391_054_472), (32, 1_129_536_231_264), (128, 834_000_000_000_000)]
)
def test_the_cardinality_is_what_the_docstring_says(resolution: int, cardinality: int) -> None:
    found = Supernet(convnet(classes=10, resolution=resolution)).space.cardinality()
    assert abs(found - cardinality) <= 0.05 * cardinality
    if resolution == 8:
        assert found == cardinality


def test_the_wrong_number_of_channels_is_told() -> None:
    with pytest.raises(ShapeError):
        Supernet(convnet(classes=10, channels=3, resolution=8)).check_shapes(
            (1, 8, 8), Classification(10), torch.zeros(1, dtype=torch.int64)
        )


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.0, 4.0])
def test_a_scale_makes_a_valid_space(scale: float) -> None:
    supernet = Supernet(convnet(classes=10, channels=1, resolution=8, scale=scale))
    assert supernet.space.cardinality() > 1_000_000
    sizes = [sum(p.numel() for p in supernet.extract(a).parameters()) for a in supernet.probes()[:2]]
    assert sizes[0] > 10 * sizes[1]


def test_random_architectures_spread_over_sizes() -> None:
    supernet = Supernet(convnet(classes=10, channels=1, resolution=8))
    rng = np.random.default_rng(0)
    sizes = [
        sum(p.numel() for p in supernet.extract(supernet.space.sample(rng)).parameters()) for _ in range(30)
    ]
    assert len(set(sizes)) == 30
