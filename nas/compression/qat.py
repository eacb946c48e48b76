"""Quantization-aware training: weights that int8 afterwards takes as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch

from nas.choices import Option
from nas.compression.fake_quantization import simulate_int8, stop_simulation
from nas.compression.pipeline import Lab, Model
from nas.compression.reduced_range import check_reduced_range, choose_reduced_range, largest_weight
from nas.compression.settings import check_options
from nas.compression.training import TrainingPass, check_distillation, check_recipe, describe_epochs, train_in
from nas.compression.working import make_model, module_in
from nas.errors import ExportError
from nas.supernet.copying import copy_module
from nas.supernet.recalibrate import recalibrate_on
from nas.training import Distillation, Hinton, Recipe


@final
@dataclass(frozen=True)
class Qat(TrainingPass):
    """Trains on with int8 simulated, so that :class:`Int8` afterwards loses little (Jacob 2018).

    Weights are rounded per channel to the integers that Int8 uses on this machine, inputs of layers per tensor to
    uint8. What comes out is a plain network of float32 of the same structure, whose weights are the rounded ones;
    the files in int8 are made by Int8, with activations' ranges of its own calibration.

    Args:
        recipe: How to train; None for the winners' recipe.
        reduce_range: Whether weights use 7 of the 8 bits; None where this machine's processor says so. Give Int8
            the same.
        distillation: How to learn from the teacher, where there is one.
        name: For file names and tables.

    Raises:
        StudyError: a setting is something else.
    """

    recipe: Recipe | None = None
    reduce_range: bool | None = None
    distillation: Distillation = Hinton()  # noqa: RUF009 - frozen
    name: str = "qat"

    def __post_init__(self) -> None:
        check_recipe("Qat", self.recipe)
        check_distillation("Qat", self.distillation)
        check_reduced_range("Qat", self.reduce_range)

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the network after training.

        A killed training goes on from its checkpoint.

        Raises:
            SpaceError: there are options.
            ExportError: there is no module, or it has no layer that int8 rounds.
            TrainingError: training can't go on.
        """
        check_options(self.choices(), options)
        module = copy_module(module_in(model, self.name)).to(lab.training_device)
        reduce_range = choose_reduced_range(self.reduce_range)
        if not simulate_int8(module, largest=largest_weight(reduce_range=reduce_range)):
            raise ExportError(
                f"the pass {self.name!r} found no convolution, linear layer or attention of torch.nn in the network: "
                "take it out, or use these layers."
            )
        recipe = self.recipe or lab.recipe
        train_in(lab, module, recipe, self.distillation, "checkpoint")
        recalibrate_on(module, lab.train, lab.training_device)  # with int8 simulated
        stop_simulation(module)
        module.to(memory_format=torch.contiguous_format)
        said = f"trained for {describe_epochs(recipe)} with int8 simulated"
        return make_model(model, module, lab, said, recalibrates=False)
