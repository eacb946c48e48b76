"""Unstructured pruning: most weights become 0, wherever in a layer they are."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nas.checks import check_kind
from nas.choices import Choice, Option
from nas.compression.densities import erk_densities, uniform_densities
from nas.compression.learning import lesson_for
from nas.compression.masks import Masks
from nas.compression.pipeline import Lab, Model
from nas.compression.schedules import MaskSchedule, RigL
from nas.errors import ExportError, StudyError
from nas.space import SearchSpace
from nas.training import Distillation, Hinton, Recipe, count_steps, train

_DENSITIES = {"uniform": uniform_densities, "erk": erk_densities}


@final
@dataclass(frozen=True)
class Sparsify:
    """Trains with most weights of linear layers and convolutions at 0.

    **Nothing gets faster by it**: ONNX Runtime multiplies by zeros like by other numbers. The file gets smaller where
    :class:`nas.compression.SparseFile` stands behind, or when it is compressed, as by zip. Biases and
    normalisation stay whole.

    Args:
        keep: Share of the weights that isn't 0; several, from small to large, are a choice, and 1 changes nothing.
        schedule: Which ones: :class:`RigL`, :class:`Gradual`, or :class:`StaticMask`, the control of both.
        densities: Whether each layer keeps the same share, or small layers keep more (Evci 2020, "ERK").
        recipe: How to train; the winners' recipe unless given.
        distillation: How to learn from the teacher where there is one.

    Raises:
        StudyError: a setting is out of range.
    """

    keep: float | tuple[float, ...] = 0.1
    schedule: MaskSchedule = RigL()  # noqa: RUF009 - frozen
    densities: Literal["uniform", "erk"] = "erk"
    recipe: Recipe | None = None
    distillation: Distillation = Hinton()  # noqa: RUF009 - frozen
    name: str = "sparsify"
    works_on: Literal["module"] = "module"
    trains: bool = True

    def __post_init__(self) -> None:
        shares = self.keep if isinstance(self.keep, tuple) else (self.keep,)
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in shares)
        if not shares or not numbers or not all(0 < one <= 1 for one in shares):
            raise StudyError(f"Sparsify has keep={self.keep!r}: shares above 0 and up to 1 are expected.")
        if self.densities not in _DENSITIES:
            raise StudyError(f"Sparsify has densities={self.densities!r}: 'uniform' or 'erk' is expected.")
        check_kind("Sparsify", "schedule", self.schedule, MaskSchedule, "an instance such as RigL()")
        check_kind(
            "Sparsify", "distillation", self.distillation, Distillation, "an instance such as Hinton()"
        )
        if self.recipe is not None:
            check_kind("Sparsify", "recipe", self.recipe, Recipe, "a Recipe, or None,")

    def choices(self) -> SearchSpace:
        """Return the choice among several shares."""
        several = self.keep if isinstance(self.keep, tuple) else ()
        return SearchSpace((Choice(f"{self.name}.keep", several),) if several else ())

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the network after a training in which most of its weights became 0."""
        keep = float(options[f"{self.name}.keep"] if isinstance(self.keep, tuple) else self.keep)
        if keep == 1:
            return model
        assert model.module is not None
        module = copy.deepcopy(model.module).to(lab.device)
        masks = self._train(module, keep, lab)
        told = (
            f"sparsify to {masks.kept:.1%} of the weights ({self.schedule.name}): the others are 0, which makes a file "
            "smaller where it is stored sparse or compressed, and nothing faster"
        )
        plain = module.to(device="cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return replace(model, module=plain.eval(), applied=(*model.applied, told))

    def _train(self, module: nn.Module, keep: float, lab: Lab) -> Masks:
        weights = prunable_weights(module)
        if not weights:
            raise ExportError(
                "the network has no linear layer and no convolution of torch.nn, so nothing can be made sparse: leave "
                "Sparsify() out."
            )
        recipe = self.recipe or lab.recipe
        masks = Masks(
            weights,
            _DENSITIES[self.densities]([tuple(weight.shape) for weight in weights.values()], keep),
            self.schedule,
            num_steps=count_steps(len(lab.train), recipe),
            seed=lab.seed,
        )
        lesson = lesson_for(module, lab, recipe, self.distillation)
        train(
            lesson.module,
            lesson.step,
            lab.train,
            recipe,
            seed=lab.seed,
            device=lab.device,
            checkpoint=lab.folder / f"{self.name}.pt",
            watcher=masks,
        )
        masks.hold()  # an average of weights holds some that were let go lately
        return masks


def prunable_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights of linear layers, convolutions and attention's projections, by name."""
    prunable: set[Tensor | None] = set()
    for layer in module.modules():
        if isinstance(layer, nn.Linear | _ConvNd):
            prunable.add(layer.weight)
        elif isinstance(layer, nn.MultiheadAttention):
            prunable.add(layer.in_proj_weight)
    return {name: weight for name, weight in module.named_parameters() if weight in prunable}
