"""CIFAR-10 as JPEG files in one archive, for benchmarks on machines that have not the original pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

FILE = Path("cifar10_jpeg") / "cifar10_jpeg.npz"
"""In the folder of the data: ``train_jpeg`` (all files joined), ``train_offsets``, ``train_labels``; test alike."""


class Cifar10Jpeg:
    """A part of CIFAR-10, as a data set of torch: a PIL image and its class.

    Args:
        root: Folder that holds ``cifar10_jpeg``.
        part: ``train`` or ``test``. Images are sorted by class.
    """

    def __init__(self, root: Path, part: str) -> None:
        with np.load(root / FILE, allow_pickle=False) as held:
            self._data, self._starts = held[f"{part}_jpeg"], held[f"{part}_offsets"]
            self.targets = held[f"{part}_labels"].astype(np.int64).tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        held = self._data[self._starts[row] : self._starts[row + 1]].tobytes()
        return Image.open(io.BytesIO(held)).convert("RGB"), self.targets[row]
