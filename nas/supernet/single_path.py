"""One random subnet per batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from nas.inputs import Inputs, call_network
from nas.supernet.sandwich import draw_architectures
from nas.supernet.supernet import Supernet
from nas.task import Task
from nas.training import Losses, Recipe, Step
from nas.training.phases import Phase
from nas.training.steps import prepare_batch


@final
@dataclass(frozen=True)
class SinglePath:
    """Every batch trains one subnet, drawn uniformly from those that meet the constraints, with the targets (Guo 2020).

    A quarter of the sandwich rule's cost per batch; the smallest and the largest subnet are hardly ever
    drawn.
    """

    def phases(self, supernet: Supernet, recipe: Recipe, task: Task) -> Sequence[Phase]:
        """Return the one phase."""
        return [Phase("single path", recipe, lambda: single_path_step(supernet, task, recipe))]


def single_path_step(supernet: Supernet, task: Task, recipe: Recipe) -> Step:
    """Return a step that trains one random subnet."""

    def step(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
        batch = prepare_batch(inputs, targets, recipe, generator)
        (architecture,) = draw_architectures(supernet, 1, generator)
        with supernet.active(architecture):
            yield batch.loss(task, call_network(supernet, batch.inputs), recipe.label_smoothing)

    return step
