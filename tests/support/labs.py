"""What passes may use, in tests."""

from __future__ import annotations

from pathlib import Path

import torch

from nas.compression import Lab
from nas.splits import Split
from nas.task import Task
from nas.tasks import Classification
from nas.training import Recipe


def lab_of(split: Split, folder: Path = Path("unused"), task: Task | None = None, epochs: int = 1) -> Lab:
    """Return a lab with a training split of ten classes, unless a task is given."""
    return Lab(
        train=split,
        task=task or Classification(10),
        recipe=Recipe(epochs=epochs, batch_size=32),
        training_device=torch.device("cpu"),
        seed=0,
        folder=folder,
    )
