"""Training inside a pass: with the lab's data and teachers, resumable in the lab's folder."""

from __future__ import annotations

from torch import nn

from nas.compression.learning import lesson_for
from nas.compression.pipeline import Lab
from nas.training import Distillation, Recipe, Watcher, train


def train_in(
    lab: Lab,
    module: nn.Module,
    recipe: Recipe,
    distillation: Distillation,
    name: str,
    *,
    watcher: Watcher | None = None,
) -> None:
    """Train a module in place, from the lab's teachers too where there are any; leaves it in evaluation mode.

    Args:
        lab: With data, task, teachers and folder.
        module: On the lab's device.
        recipe: How long and how fast.
        distillation: How it learns from teachers.
        name: Name of the checkpoint, from which a later call with the same module goes on.
        watcher: Called around every step of the optimizer.

    Raises:
        TrainingError: a loss or its gradient is NaN or infinite, or memory ran out.
    """
    lesson = lesson_for(module, lab, recipe, distillation)
    checkpoint = lab.folder / f"{name}.pt"
    train(
        lesson.module,
        lesson.step,
        lab.train,
        recipe,
        seed=lab.seed,
        device=lab.device,
        checkpoint=checkpoint,
        watcher=watcher,
    )
    module.eval()
