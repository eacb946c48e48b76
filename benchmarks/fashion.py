"""What benchmarks on Fashion-MNIST share: a subset of its images, and a small space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision.datasets import FashionMNIST

from nas import choice
from nas.data import split_images
from nas.evaluation import NetworkCounter
from nas.space import Architecture
from nas.splits import Splits
from nas.supernet import Supernet, elastic
from search_spaces.convnet import GlobalAverage, InvertedResidual, residuals


@dataclass(frozen=True)
class FashionSubset:
    """The first ``count`` training images, 60 % to train, 20 % to search, 20 % to test.

    Args:
        root: Folder that holds ``FashionMNIST/raw``.
        count: 10,000 gives 6,000 images to train and 2,000 to search.
    """

    root: Path
    count: int = 10_000

    def load(self) -> Splits:
        """Return the splits."""
        whole = FashionMNIST(str(self.root), train=True, download=False)
        images = whole.data[: self.count].unsqueeze(1).to(torch.float32) / 255
        return split_images(f"fashion-mnist[:{self.count}]", images, whole.targets[: self.count])


def fashion_network() -> nn.Module:
    """Return 1.4e9 architectures from 0.02 to 3.7 million MACs on 28 by 28 grey pixels."""
    width = choice("stem.width", 4, 8, 16)
    layers: list[nn.Module] = [
        elastic.Conv2d(1, width, 3, stride=2, padding="same", bias=False),
        elastic.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    for number, (options, stride) in enumerate([((4, 8, 16), 2), ((8, 16, 32), 1), ((16, 32, 64), 2)], 1):
        stage = f"stage{number}"
        before, width = width, choice(f"{stage}.width", *options)
        layers += [
            InvertedResidual(f"{stage}.0", before, width, stride=stride, skip=False),
            elastic.Repeat(residuals(stage, width), times=choice(f"{stage}.extra_depth", 0, 1, 2)),
        ]
    return nn.Sequential(*layers, GlobalAverage(), elastic.Linear(width, 10))


def spread_architectures(
    supernet: Supernet,
    count: int,
    seed: int,
    counter: NetworkCounter | None = None,
    most_macs: float = np.inf,
) -> list[Architecture]:
    """Return the smallest, the largest, and random ones evenly spaced in the logarithm of their MACs.

    Independent samples would nearly all be of a middling size, and a ranking of equals is noise.

    Args:
        supernet: Its space is drawn from.
        count: How many.
        seed: Seed of the draws.
        counter: Counter of the MACs; by default for images of Fashion-MNIST.
        most_macs: None has more, and the one nearest to that takes the place of the largest.
    """
    space, counter = supernet.space, counter or NetworkCounter(supernet, (1, 28, 28))
    rng = np.random.default_rng(seed)
    leaning = rng.uniform(size=(4000, 1))
    rows = space.canonical(rng.binomial(space.num_options - 1, leaning))
    ends = space.indices([space.smallest(), space.largest()])
    rows = np.concatenate([ends, rows])
    macs = counter.counts(rows).macs
    rows, sizes = rows[macs <= most_macs], np.log(macs[macs <= most_macs])
    targets = np.linspace(sizes.min(), sizes.max(), count)
    return space.from_indices(rows[[int(np.argmin(np.abs(sizes - target))) for target in targets]])
