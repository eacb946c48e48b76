"""What tests of compression passes share: a lab, splits of random items, and small networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import labs
import torch
from torch import Tensor, nn

from nas.compression.pipeline import Lab, Model
from nas.inputs import InputSpec
from nas.splits import Split
from nas.task import Task
from nas.tasks import Classification


def random_split(*shape: int, count: int = 48, classes: int = 3) -> Split:
    """Return items of a shape, of classes in turn."""
    inputs = torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))
    return Split(inputs, torch.arange(count) % classes)


def random_ids(length: int, num_ids: int, count: int = 48, classes: int = 3) -> Split:
    """Return rows of ids without padding, of classes in turn."""
    ids = torch.randint(1, num_ids, (count, length), generator=torch.Generator().manual_seed(0))
    return Split(ids, torch.arange(count) % classes)


def lab_of(split: Split, folder: Path, teacher: nn.Module | None = None, task: Task | None = None) -> Lab:
    """Return a lab of three classes, with a teacher if one is given."""
    return replace(labs.lab_of(split, folder, task or Classification(3)), teacher=teacher)


def model_of(module: nn.Module, split: Split) -> Model:
    """Return a model that takes the items of a split."""
    return Model(InputSpec.of_batch(split.inputs, ("items",)), module.eval())


class Stopping(Classification):
    """Ends the process, as it were, at a call of its loss.

    Args:
        calls: That it answers before.
    """

    def __init__(self, calls: int) -> None:
        super().__init__(3)
        object.__setattr__(self, "left", [calls])

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise KeyboardInterrupt
        return super().loss(outputs, targets, label_smoothing)


class Block(nn.Module):
    """Two convolutions with a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.BatchNorm2d(width),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(inputs + self.layers(inputs))


def residual_net(width: int = 8, classes: int = 3) -> nn.Module:
    """Return a small residual network for grey images of 8 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        Block(width),
        Block(width),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )
