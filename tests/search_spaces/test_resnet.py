from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import pytest
import torch

from nas.supernet import Supernet
from nas.tasks import Classification
from nas.testing import check_network
from search_spaces.resnet import resnet

Block = Literal["basic", "bottleneck"]


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_the_contract_is_kept(block: Block) -> None:
    make = partial(resnet, classes=5, channels=1, resolution=8, block=block, scale=0.5)
    check_network(make, (1, 8, 8), Classification(5), num_random=2)


@pytest.mark.parametrize(
    ("resolution", "channels", "block"),
    [(8, 1, "basic"), (31, 3, "bottleneck"), (63, 3, "basic"), (64, 3, "bottleneck"), (224, 3, "basic")],
)
def test_images_of_8_to_224_pixels_fit(resolution: int, channels: int, block: Block) -> None:
    rng = np.random.default_rng(0)
    with torch.device("meta"):
        supernet = Supernet(resnet(classes=7, channels=channels, resolution=resolution, block=block)).eval()
        images = torch.empty(2, channels, resolution, resolution)
        space = supernet.space
        for architecture in (space.smallest(), space.largest(), *(space.sample(rng) for _ in range(4))):
            with supernet.active(architecture):
                assert supernet(images).shape == (2, 7)


@pytest.mark.parametrize(
    ("block", "resolution", "cardinality"),
    [("basic", 32, 4.8e7), ("basic", 64, 1.2e10), ("bottleneck", 32, 1.4e9), ("bottleneck", 64, 1.1e12)],
)
def test_the_cardinality_is_what_the_docstring_says(
    block: Block, resolution: int, cardinality: float
) -> None:
    found = Supernet(resnet(classes=10, resolution=resolution, block=block)).space.cardinality()
    assert abs(found - cardinality) <= 0.05 * cardinality
