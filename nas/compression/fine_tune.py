"""Fine-tuning, as a pass: where it stands in the row is stated."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, final

from nas.checks import check_kind
from nas.choices import Option
from nas.compression.pipeline import Lab, Model
from nas.space import SearchSpace
from nas.supernet.recalibrate import recalibrate_on
from nas.training import Recipe, distillation_step, supervised_step, train


@final
@dataclass(frozen=True)
class FineTune:
    """Training of what the passes before it left, with a teacher where one is better.

    Without this pass, and without another that trains the module, winners are fine-tuned behind the last pass on the
    module.

    Args:
        recipe: How long and how fast; None for the winners' recipe.
        name: Of the pass.
    """

    recipe: Recipe | None = None
    name: str = "fine_tune"
    works_on: Literal["module", "file"] = "module"
    trains: bool = True

    def __post_init__(self) -> None:
        check_kind("FineTune", "recipe", self.recipe, Recipe | None, "a Recipe or None")

    def choices(self) -> SearchSpace:
        """Return nothing to choose."""
        return SearchSpace(())

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the network after the training; a killed one goes on from its checkpoint."""
        recipe, student = self.recipe or lab.recipe, copy.deepcopy(model.module)
        assert student is not None, "a pass on the module is given one"
        step = supervised_step(student, lab.task, recipe)
        if lab.teacher is not None:
            step = distillation_step(student, lab.teacher, lab.task, recipe)
        checkpoint = lab.folder / "checkpoint.pt"
        train(student, step, lab.train, recipe, seed=lab.seed, device=lab.device, checkpoint=checkpoint)
        recalibrate_on(student, lab.train, lab.device)
        epochs = f"{recipe.epochs} epoch{'s' if recipe.epochs > 1 else ''}"
        return replace(model, module=student.eval(), applied=(*model.applied, f"fine-tuned for {epochs}"))
