"""The networks of NAS-Bench-201, with fewer cells, and their scores before training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.zero_cost.scored import Scored, score_rows
from nas.evaluation.zero_cost import ScoredOn
from nas.space import IntArray
from nas.tasks import Classification

WIDTH, CELLS = 16, 1  # of the first stage, and in each of three stages, where Dong and Yang 2020 train five
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
ITEMS = 32
MEAN, STD = (0.4913, 0.4821, 0.4465), (0.2452, 0.2428, 0.2606)


def make_convolution(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(after))


class Nothing(nn.Module):
    """Zeros."""

    def forward(self, images: Tensor) -> Tensor:
        """Keep the shape, or halve it in a reduction."""
        return torch.zeros_like(images)


def operation(name: str, width: int) -> nn.Module:
    made: dict[str, nn.Module] = {
        "none": Nothing(),
        "skip_connect": nn.Identity(),
        "nor_conv_1x1": make_convolution(width, width, 1),
        "nor_conv_3x3": make_convolution(width, width, 3),
        "avg_pool_3x3": nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    }
    return made[name]


class Cell(nn.Module):
    """Four nodes, an operation on each of six edges; a node is the sum of what comes in."""

    def __init__(self, names: Sequence[str], width: int) -> None:
        super().__init__()
        self.operations = nn.ModuleList(operation(name, width) for name in names)

    def forward(self, images: Tensor) -> Tensor:
        """Keep the shape, or halve it in a reduction."""
        nodes = [images]
        for node in (1, 2, 3):
            incoming = [
                made(nodes[begin])
                for made, (begin, end) in zip(self.operations, EDGES, strict=True)
                if end == node
            ]
            nodes.append(torch.stack(incoming).sum(0))
        return nodes[-1]


class Reduction(nn.Module):
    """A residual block that halves the images and doubles the width."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            make_convolution(before, 2 * before, 3, stride=2), make_convolution(2 * before, 2 * before, 3)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(before, 2 * before, 1, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        """Keep the shape, or halve it in a reduction."""
        output: Tensor = self.shortcut(images) + self.block(images)
        return output


def network(names: Sequence[str], classes: int = 10) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH)]
    for stage in range(3):
        width = WIDTH * 2**stage
        if stage:
            layers.append(Reduction(width // 2))
        layers += [Cell(names, width) for _ in range(CELLS)]
    last = WIDTH * 4
    head = (nn.BatchNorm2d(last), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes))
    return nn.Sequential(*layers, *head)


def images(data: Path) -> ScoredOn:
    """Return random training images of CIFAR-10."""
    with np.load(data / "cifar10_jpeg" / "cifar10_jpeg.npz") as arrays:
        joined, offsets = arrays["train_jpeg"].tobytes(), arrays["train_offsets"]
        labels = arrays["train_labels"].astype(np.int64)
    rows = np.random.default_rng(0).choice(len(labels), ITEMS, replace=False)
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(joined[offsets[r] : offsets[r + 1]]))) for r in rows])
    normalised = torch.from_numpy((pixels / 255 - MEAN) / STD).float().permute(0, 3, 1, 2).contiguous()
    return ScoredOn(normalised, torch.from_numpy(labels[rows]), Classification(10))


def score_cells(data: Path, count: int, out: Path) -> Scored:
    """Score ``count`` random networks of the table, or go on with that."""
    with np.load(data / "nb201" / "nb201.npz") as arrays:
        names, positions = arrays["op_names"], arrays["ops"]
        counted = {"parameters": arrays["params_m_cifar10"], "macs": arrays["flops_m_cifar10"]}
    rows: IntArray = np.random.default_rng(0).choice(len(positions), 300, replace=False)[:count]

    def make(row: int) -> nn.Module:
        return network([str(names[position]) for position in positions[row]])

    return score_rows(rows, make, images(data), counted, out)
