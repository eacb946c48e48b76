"""One random subnet per batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from nas.protocols import Phase
from nas.supernet.sandwich import drawn
from nas.supernet.supernet import Supernet
from nas.training import Losses, Recipe, Step


@final
@dataclass(frozen=True)
class SinglePath:
    """Every batch trains one subnet, drawn uniformly from those that meet the constraints, with the labels (Guo 2020).

    A quarter of the sandwich rule's cost per batch; the smallest and the largest subnet are hardly ever
    drawn.
    """

    def phases(self, supernet: Supernet, recipe: Recipe) -> Sequence[Phase]:
        """Return the one phase."""
        return [Phase("single path", recipe, lambda: single_path_step(supernet, recipe))]


def single_path_step(supernet: Supernet, recipe: Recipe) -> Step:
    """Return a step that trains one random subnet."""
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def step(images: Tensor, labels: Tensor, generator: torch.Generator) -> Losses:
        (architecture,) = drawn(supernet, 1, generator)
        with supernet.active(architecture):
            yield criterion(supernet(images), labels)

    return step
