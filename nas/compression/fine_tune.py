"""Fine-tuning, as a pass: where it stands in the row is stated."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, final

from nas.checks import check_kind
from nas.choices import Option
from nas.compression.learning import lesson_for
from nas.compression.pipeline import Lab, Model
from nas.space import SearchSpace
from nas.supernet.recalibrate import recalibrate_on
from nas.training import Distillation, Hinton, Recipe, train


@final
@dataclass(frozen=True)
class FineTune:
    """Training of what the passes before it left, with a teacher where one is better.

    Without this pass, and without another that trains the module, winners are fine-tuned behind the last pass on the
    module.

    Args:
        recipe: How long and how fast; None for the winners' recipe.
        distillation: How to learn from the teacher, where there is one.
        name: For file names and tables.

    Raises:
        StudyError: a setting is of another kind.
    """

    recipe: Recipe | None = None
    distillation: Distillation = Hinton()  # noqa: RUF009 - frozen
    name: str = "fine_tune"

    works_on: ClassVar[Literal["module"]] = "module"
    trains: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_kind("FineTune", "recipe", self.recipe, Recipe | None, "a Recipe or None")
        check_kind(
            "FineTune", "distillation", self.distillation, Distillation, "an instance such as Hinton()"
        )

    def choices(self) -> SearchSpace:
        """Return nothing to choose."""
        return SearchSpace(())

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the network after the training; a killed one goes on from its checkpoint."""
        recipe, student = self.recipe or lab.recipe, copy.deepcopy(model.module)
        assert student is not None, "a pass on the module is given one"
        lesson, checkpoint = lesson_for(student, lab, recipe, self.distillation), lab.folder / "checkpoint.pt"
        train(
            lesson.module,
            lesson.step,
            lab.train,
            recipe,
            seed=lab.seed,
            device=lab.device,
            checkpoint=checkpoint,
        )
        recalibrate_on(student, lab.train, lab.device)
        epochs = f"{recipe.epochs} epoch{'s' if recipe.epochs > 1 else ''}"
        return replace(model, module=student.eval(), applied=(*model.applied, f"fine-tuned for {epochs}"))
