"""Layerwise imitation: a narrow network learns what stands between a wide one's layers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.checks import check_integers
from nas.choices import Option
from nas.compression.maps import insert_maps, match_layers, merge_maps
from nas.compression.pipeline import Lab, Model
from nas.compression.settings import check_options
from nas.compression.training import TrainingPass, check_recipe
from nas.compression.working import make_model, make_working_copy, module_in
from nas.errors import ExportError, StudyError
from nas.inputs import Inputs, call_network
from nas.training import Losses, Recipe, Step, distillation_step, prepare_batch, train


@final
@dataclass(frozen=True)
class WideThenNarrow(TrainingPass):
    """Trains a network to have in front of each layer what its wide teacher has there, then its outputs (Zhou 2020).

    Between two layers stand a linear map to the teacher's width, where the two are compared, and one back. At first
    they undo each other; in the end they are multiplied into the layer behind, so that the network has exactly the
    parameters that it had. Nothing is learned from the targets: put a pass behind that does. Where nothing is better
    than the network, it is left as it is.

    A *variant*: the paper's widths come from widening the network, ours from the lab's teacher, whose layers are
    matched by their names; layers below go on learning while one is added; depthwise convolutions have no maps.

    Args:
        layer_epochs: For each layer, from the first to the last.
        recipe: How to learn the outputs after that, and with its own epochs replaced, the layers; the winners'
            recipe unless given. Layers are learned without weight decay.
        name: Name of the pass.

    Raises:
        StudyError: a setting is out of range.
    """

    layer_epochs: int = 1
    recipe: Recipe | None = None
    name: str = "imitate"

    def __post_init__(self) -> None:
        check_integers(self, "layer_epochs")
        if self.layer_epochs < 1:
            raise StudyError(f"WideThenNarrow has layer_epochs={self.layer_epochs}: 1 or more is expected.")
        check_recipe("WideThenNarrow", self.recipe)

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the network after it learned from its teacher, layer by layer and as a whole.

        Raises:
            ExportError: there is no module, or none of its layers is like one of the teacher.
            TrainingError: a loss or its gradient is NaN or infinite, or memory ran out.
            SpaceError: there are options.
        """
        check_options(self.choices(), options)
        if lab.teacher is None:
            return model
        module = make_working_copy(module_in(model, self.name), lab)
        layers = match_layers(module, lab.teacher, model.inputs, lab.training_device)
        if not layers:
            raise ExportError(
                "no layer of the network has its counterpart in the teacher, of the same name and not narrower, so "
                "there is nothing to imitate: leave WideThenNarrow() out."
            )
        insert_maps(module, lab.teacher, layers)
        self._train(module, lab.teacher, layers, lab)
        merge_maps(module, layers)
        return make_model(model, module, lab, f"imitate {len(layers)} layers of the teacher and its outputs")

    def _train(self, module: nn.Module, teacher: nn.Module, layers: Sequence[str], lab: Lab) -> None:
        recipe = self.recipe or lab.recipe
        by_layer = replace(recipe, epochs=self.layer_epochs, weight_decay=0.0)
        phases: list[tuple[Step, Recipe]] = [
            (imitation_step(module, teacher, layers[: number + 1], by_layer), by_layer)
            for number in range(len(layers))
        ]
        phases.append((distillation_step(module, teacher, lab.task, recipe, weight=1.0), recipe))
        for number, (step, how) in enumerate(phases):
            checkpoint = lab.folder / f"{self.name}-{number}.pt"
            train(
                module,
                step,
                lab.train,
                how,
                seed=lab.seed + number,
                device=lab.training_device,
                checkpoint=checkpoint,
            )


def imitation_step(student: nn.Module, teacher: nn.Module, layers: Sequence[str], recipe: Recipe) -> Step:
    """Return a step that makes what stands in front of layers the same as in the teacher.

    The loss of a layer is the squared difference, relative to the teacher's mean square; that of a batch is their mean.

    Args:
        student: With maps in front of the layers.
        teacher: In evaluation mode; not changed.
        layers: Their names.
        recipe: For what is mixed.
    """
    own = [student.get_submodule(f"{name}.down") for name in layers]
    others = [teacher.get_submodule(name) for name in layers]

    def step(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
        batch = prepare_batch(inputs, targets, recipe, generator)
        with torch.no_grad(), _keep_inputs(others) as wanted:
            call_network(teacher, batch.inputs)
        with _keep_inputs(own) as found:
            call_network(student, batch.inputs)
        losses = [_relative_error(found[id(a)], wanted[id(b)]) for a, b in zip(own, others, strict=True)]
        yield torch.stack(losses).mean()

    return step


def _relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    scale = wanted.square().mean().clamp(min=torch.finfo(torch.float32).tiny)
    return F.mse_loss(found, wanted) / scale


@contextlib.contextmanager
def _keep_inputs(modules: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """Record the last input of modules while the context lasts, by ``id``."""
    seen: dict[int, Tensor] = {}

    def keep_input(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen[id(module)] = arguments[0]

    hooks = [module.register_forward_pre_hook(keep_input) for module in modules]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
