"""What passes that train share: their settings, the training itself, and how it is described."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from nas.checks import check_kind
from nas.compression.pipeline import Lab
from nas.space import SearchSpace
from nas.training import Distillation, Lesson, Recipe, Watcher, make_supervised_step, train


class TrainingPass:
    """What passes share that train the module: they leave nothing to be chosen, and are left to winners."""

    works_on: ClassVar[Literal["module"]] = "module"
    trains: ClassVar[bool] = True

    def choices(self) -> SearchSpace:
        """Return no choices."""
        return SearchSpace(())


def check_recipe(holder: str, recipe: object) -> None:
    """Refuse what is neither a recipe nor None, which stands for the winners' recipe.

    Raises:
        StudyError: it is something else.
    """
    check_kind(holder, "recipe", recipe, Recipe | None, "a Recipe or None")


def check_distillation(holder: str, distillation: object) -> None:
    """Refuse what is not a way to learn from teachers.

    Raises:
        StudyError: it is something else.
    """
    check_kind(holder, "distillation", distillation, Distillation, "a method such as Hinton()")


def describe_epochs(recipe: Recipe) -> str:
    """Return how long a recipe trains, in words: ``3 epochs``."""
    return f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)}"


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
    lesson = _make_lesson(module, lab, recipe, distillation)
    checkpoint = lab.folder / f"{name}.pt"
    train(
        lesson.module,
        lesson.step,
        lab.train,
        recipe,
        seed=lab.seed,
        device=lab.training_device,
        checkpoint=checkpoint,
        watcher=watcher,
    )
    module.eval()


def _make_lesson(student: nn.Module, lab: Lab, recipe: Recipe, distillation: Distillation) -> Lesson:
    """Return what to train: with the lab's teachers, or with the targets alone where it has none."""
    if lab.teacher is None:
        return Lesson(student, make_supervised_step(student, lab.task, recipe))
    return distillation.lesson(student, (*lab.assistants(), lab.teacher), lab.task, recipe)
