"""torchvision's ResNet-18, as it is, made elastic by :func:`nas.supernet.elastic_module`."""

from __future__ import annotations

import torch
from torch import nn
from torchvision import models

from nas.supernet import elastic_module


def plain_resnet18(classes: int, channels: int = 3) -> nn.Module:
    """Return torchvision's network (He 2016, table 1) for so many channels and classes, with random weights.

    Shape:
        ``(n, channels, h, w)`` to ``(n, classes)``.
    """
    network: nn.Module = models.resnet18(num_classes=classes)
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    return network


def resnet18(classes: int, channels: int = 3, resolution: int = 32) -> nn.Module:
    """Return the network with elastic widths and depths, with random weights.

    Weights of a trained one go into a study as ``Study.weights``.

    Args:
        classes: Size of the output.
        channels: Channels of the images.
        resolution: Height and width of the images.

    Shape:
        ``(n, channels, resolution, resolution)`` to ``(n, classes)``.
    """
    example = torch.zeros(2, channels, resolution, resolution)
    return elastic_module(plain_resnet18(classes, channels), example)
