"""Fine-tuning, as a pass: where it stands in the row is stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from nas.choices import Option
from nas.compression.pipeline import Lab, Model
from nas.compression.settings import check_options
from nas.compression.training import TrainingPass, check_distillation, check_recipe, describe_epochs, train_in
from nas.compression.working import make_model, module_in
from nas.supernet.copying import copy_module
from nas.training import Distillation, Hinton, Recipe


@final
@dataclass(frozen=True)
class FineTune(TrainingPass):
    """Training of what the passes before it left, with a teacher where one is better; batch norm is recalibrated.

    Without this pass, and without another that trains the module, winners are fine-tuned behind the last pass on the
    module.

    Args:
        recipe: How long and how fast; None for the winners' recipe.
        distillation: How it learns from teachers.
        name: Name of the pass.

    Raises:
        StudyError: a setting is of another kind.
    """

    recipe: Recipe | None = None
    distillation: Distillation = field(default_factory=Hinton)
    name: str = "fine_tune"

    def __post_init__(self) -> None:
        check_recipe("FineTune", self.recipe)
        check_distillation("FineTune", self.distillation)

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the network after the training; a killed one goes on from its checkpoint.

        Raises:
            ExportError: there is no module.
            TrainingError: a loss or its gradient is NaN or infinite, or memory ran out.
            SpaceError: there are options.
        """
        check_options(self.choices(), options)
        recipe = self.recipe or lab.recipe
        module = copy_module(module_in(model, self.name)).to(lab.training_device)  # what is frozen stays so
        train_in(lab, module, recipe, self.distillation, "checkpoint")
        return make_model(model, module, lab, f"fine-tuned for {describe_epochs(recipe)}")
