"""The sandwich rule with in-place distillation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from nas.checks import check_integers
from nas.errors import StudyError
from nas.inputs import Inputs, call_network
from nas.space import Architecture
from nas.supernet.supernet import Supernet
from nas.task import Task
from nas.training import Losses, Recipe, Step
from nas.training.mixing import imitate
from nas.training.phases import Phase
from nas.training.steps import make_generator, prepare_batch


@final
@dataclass(frozen=True)
class SandwichRule:
    """Every batch trains the largest subnet, the smallest, and random ones in between.

    Args:
        num_random: Subnets between the largest and the smallest.
    """

    num_random: int = 2

    def __post_init__(self) -> None:
        check_integers(self, "num_random")
        if self.num_random < 0:
            raise StudyError(f"SandwichRule has num_random={self.num_random}: 0 or more is needed.")

    def phases(self, supernet: Supernet, recipe: Recipe, task: Task) -> Sequence[Phase]:
        """Return the one phase."""
        return [
            Phase(
                "sandwich",
                recipe,
                lambda: sandwich_step(supernet, task, recipe, num_random=self.num_random),
            )
        ]


def sandwich_step(supernet: Supernet, task: Task, recipe: Recipe, *, num_random: int = 2) -> Step:
    """Return a step that trains the largest subnet, the smallest, and random ones in between.

    The largest learns from the targets, the others from what it predicts (Yu 2019). The losses add up,
    as there; the gradient norm is clipped by the training loop.

    Args:
        supernet: What is trained.
        task: What it is for.
        recipe: For the label smoothing.
        num_random: Subnets between the largest and the smallest.
    """
    largest, smallest = supernet.space.largest(), supernet.space.smallest()

    def step(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
        batch = prepare_batch(inputs, targets, recipe, generator)
        with supernet.active(largest):
            outputs = call_network(supernet, batch.inputs)
            yield batch.loss(task, outputs, recipe.label_smoothing)
        # Detached, because the largest subnet must not be drawn to what the smaller ones can imitate.
        taught = outputs.detach()
        for architecture in [*draw_architectures(supernet, num_random, generator), smallest]:
            with supernet.active(architecture):
                yield imitate(task, call_network(supernet, batch.inputs), taught)

    return step


def draw_architectures(supernet: Supernet, count: int, generator: torch.Generator) -> list[Architecture]:
    """Return what the supernet draws; it depends on the state of torch's generator alone."""
    rng = make_generator(generator)
    return [supernet.draw(rng) for _ in range(count)]
