from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.supernet import OneOutput, Supernet


@pytest.mark.parametrize(("made", "key"), [({"out": 1, "aux": 2}, "out"), ((0, 1), 1)])
def test_the_output_that_counts_is_returned(made: object, key: str | int) -> None:
    class Several(nn.Module):
        def forward(self, images: object) -> object:
            return made

    assert OneOutput(Several(), key)(torch.zeros(1)) == 1


class Segmenter(nn.Module):
    """Returns a dictionary as torchvision's networks for segmentation do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16)
        self.head, self.aux = nn.Conv2d(16, 5, 1), nn.Conv2d(16, 5, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Classify every pixel, twice."""
        features = self.norm(self.stem(images)).relu()
        size = images.shape[-2:]
        return {
            "out": F.interpolate(self.head(features), size),
            "aux": F.interpolate(self.aux(features), size),
        }


@pytest.mark.parametrize("training", [False, True])
def test_a_network_that_returns_several_becomes_elastic_in_the_mode_that_it_is_in(training: bool) -> None:
    network, images = Segmenter().train(training), torch.randn(2, 3, 8, 6)
    supernet = Supernet.from_module(OneOutput(network, "out"), images)
    assert supernet.training == training
    supernet.eval()
    torch.testing.assert_close(supernet(images), network.eval()(images)["out"])
    smallest = supernet.space.smallest()
    with supernet.active(smallest):
        assert torch.equal(supernet.extract(smallest)(images), supernet(images))
