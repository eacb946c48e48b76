"""Unstructured pruning: most weights become 0, wherever in a layer they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, final

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nas.checks import check_kind, check_numbers
from nas.choices import Option
from nas.compression.densities import erk_densities, uniform_densities
from nas.compression.masks import WeightMasks
from nas.compression.pipeline import Lab, Model
from nas.compression.schedules import MaskSchedule, RigL
from nas.compression.settings import check_options
from nas.compression.training import TrainingPass, check_distillation, check_recipe, train_in
from nas.compression.working import make_model, module_in
from nas.errors import ExportError, StudyError
from nas.supernet.copying import copy_module
from nas.training import Distillation, Hinton, Recipe, count_steps

_DENSITIES = {"uniform": uniform_densities, "erk": erk_densities}


@final
@dataclass(frozen=True)
class Sparsify(TrainingPass):
    """Trains with most weights of linear layers and convolutions at 0.

    **Nothing gets faster by it**: ONNX Runtime multiplies by zeros like by other numbers. The file gets smaller where
    :class:`nas.compression.SparseFile` stands behind, or when it is compressed, as by zip. Biases and
    normalisation stay whole.

    Args:
        keep: Share of the weights that isn't 0; 1 changes nothing.
        schedule: Which ones: :class:`RigL`, :class:`Gradual`, or :class:`StaticMask`, the control of both.
        densities: Whether each layer keeps the same share, or small layers keep more (Evci 2020, "ERK").
        recipe: How to train; the winners' recipe unless given.
        distillation: How to learn from the teacher where there is one.
        name: Name of the pass.

    Raises:
        StudyError: a setting is out of range.
    """

    keep: float = 0.1
    schedule: MaskSchedule = field(default_factory=RigL)
    densities: Literal["uniform", "erk"] = "erk"
    recipe: Recipe | None = None
    distillation: Distillation = field(default_factory=Hinton)
    name: str = "sparsify"

    def __post_init__(self) -> None:
        check_numbers(self, "keep")
        if not 0 < self.keep <= 1:
            raise StudyError(f"Sparsify has keep={self.keep}: a share above 0 and up to 1 is expected.")
        if self.densities not in _DENSITIES:
            raise StudyError(f"Sparsify has densities={self.densities!r}: 'uniform' or 'erk' is expected.")
        check_kind("Sparsify", "schedule", self.schedule, MaskSchedule, "an instance such as RigL()")
        check_recipe("Sparsify", self.recipe)
        check_distillation("Sparsify", self.distillation)

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the network after a training in which most of its weights became 0.

        Raises:
            ExportError: there is no module, or none of its layers can be made sparse.
            TrainingError: a loss or its gradient is NaN or infinite, or memory ran out.
            SpaceError: there are options.
        """
        check_options(self.choices(), options)
        if self.keep == 1:
            return model
        module = copy_module(module_in(model, self.name)).to(lab.training_device)
        masks = self._train(module, lab)
        told = (
            f"sparsify to {masks.kept:.1%} of the weights ({self.schedule.name}): the others are 0, which makes a file "
            "smaller where it is stored sparse or compressed, and nothing faster"
        )
        return make_model(model, module, lab, told)

    def _train(self, module: nn.Module, lab: Lab) -> WeightMasks:
        weights = prunable_weights(module)
        if not weights:
            raise ExportError(
                "the network has no linear layer and no convolution of torch.nn that can be trained, so nothing can be "
                "made sparse: leave Sparsify() out."
            )
        recipe = self.recipe or lab.recipe
        masks = WeightMasks(
            weights,
            _DENSITIES[self.densities]([tuple(weight.shape) for weight in weights.values()], self.keep),
            self.schedule,
            num_steps=count_steps(len(lab.train), recipe),
            seed=lab.seed,
        )
        train_in(lab, module, recipe, self.distillation, self.name, watcher=masks)
        masks.hold()  # an average of weights holds some that were let go lately
        return masks


def prunable_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights of linear layers, convolutions and attention's projections, by name; none that is frozen."""
    prunable: set[Tensor | None] = set()
    for layer in module.modules():
        if isinstance(layer, nn.Linear | _ConvNd):
            prunable.add(layer.weight)
        elif isinstance(layer, nn.MultiheadAttention):
            prunable.add(layer.in_proj_weight)
    return {
        name: weight
        for name, weight in module.named_parameters()
        if weight in prunable and weight.requires_grad
    }
