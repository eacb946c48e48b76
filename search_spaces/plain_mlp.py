"""Perceptrons whose hidden layers have one width: how large a network is, and nothing else."""

from __future__ import annotations

from torch import nn

from nas import choice
from nas.supernet import elastic

_WIDTHS = (8, 16, 32, 64, 128, 256)
_DEPTHS = (1, 2, 3)


def plain_mlp(classes: int, features: int) -> nn.Module:
    """Return the network: 18 architectures, of 8 to 256 features in one to three hidden layers.

    Args:
        classes: Size of the output.
        features: Numbers in one input; of an image, channels times height times width.

    Shape:
        ``(n, ...)`` with ``features`` numbers each to ``(n, classes)``.
    """
    width = choice("width", *_WIDTHS)
    return nn.Sequential(
        nn.Flatten(),
        elastic.Linear(features, width),
        nn.ReLU(),
        elastic.Repeat(
            lambda _: nn.Sequential(elastic.Linear(width, width), nn.ReLU()),
            times=choice("extra_depth", *(depth - 1 for depth in _DEPTHS)),
        ),
        elastic.Linear(width, classes),
    )
