"""The embedded default: handwritten digits that scikit-learn ships."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from sklearn.datasets import load_digits

from nas.data.splits import split_images
from nas.splits import Splits


@final
@dataclass(frozen=True)
class Digits:
    """1,797 grey 8x8 images of ten digits (Alpaydin 1998), split 60 / 20 / 20.

    Args:
        seed: Seed of the split.
    """

    seed: int = 0

    def load(self) -> Splits:
        """Return the splits: images ``(n, 1, 8, 8)``."""
        data = load_digits()
        images = torch.from_numpy(data.images).to(torch.float32).unsqueeze(1)
        return split_images("digits", images, torch.from_numpy(data.target), seed=self.seed)
