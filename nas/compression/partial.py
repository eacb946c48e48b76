"""Fine-tuning of a part of a network's parameters, which leaves the network's structure as it is."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import final

import torch
from torch import nn

from nas.checks import check_integers, check_kind
from nas.choices import Option
from nas.compression.adapters import AdaptedLinear, Adapter, FreezeAndReconfigure
from nas.compression.pipeline import Lab, Model
from nas.compression.settings import check_options
from nas.compression.training import TrainingPass, check_distillation, check_recipe, describe_epochs, train_in
from nas.compression.working import make_model, module_in
from nas.errors import ExportError, StudyError
from nas.inputs import Inputs, call_network
from nas.supernet.copying import copy_module
from nas.training import Distillation, Hinton, Recipe


@final
@dataclass(frozen=True)
class PartialFineTune(TrainingPass):
    """Fine-tuning in which a part of each linear layer learns; afterwards the layers are plain ones again.

    Training then needs no memory for gradients and averages of what is frozen. Biases, normalisation and the linear
    layer that is called last learn as a whole; all else is frozen. What comes out has the structure of what went in.

    Args:
        adapter: Which part of a linear layer: :class:`FreezeAndReconfigure` or :class:`Learners`.
        priming_epochs: Epochs in which everything learns, before the part is chosen; besides those of the recipe.
        whole: Names of modules that learn as a whole too, with ``*`` for any letters: ``("embedding",)``.
        recipe: How long and how fast; None for the winners' recipe.
        distillation: How it learns from teachers.
        name: Name of the pass.

    Raises:
        StudyError: a setting is of another kind or out of range.
    """

    adapter: Adapter = field(default_factory=FreezeAndReconfigure)
    priming_epochs: int = 1
    whole: tuple[str, ...] = ()
    recipe: Recipe | None = None
    distillation: Distillation = field(default_factory=Hinton)
    name: str = "partial_fine_tune"

    def __post_init__(self) -> None:
        wanted = "an instance such as FreezeAndReconfigure(0.2) or Learners(4)"
        check_kind("PartialFineTune", "adapter", self.adapter, Adapter, wanted)
        check_integers(self, "priming_epochs")
        fewest = int(self.adapter.needs_priming)
        if self.priming_epochs < fewest:
            raise StudyError(
                f"PartialFineTune has priming_epochs={self.priming_epochs}: {fewest} or more is expected with "
                f"{self.adapter!r}."
            )
        check_kind("PartialFineTune", "whole", self.whole, tuple, "a tuple of names such as ('embedding',)")
        for position, pattern in enumerate(self.whole):
            check_kind("PartialFineTune", f"whole[{position}]", pattern, str, "a name such as 'embedding'")
        check_recipe("PartialFineTune", self.recipe)
        check_distillation("PartialFineTune", self.distillation)

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the network after the training; a killed one goes on from its checkpoint.

        Raises:
            ExportError: there is no module, it has no linear layer besides the last, or none of a name in ``whole``.
            TrainingError: a loss or its gradient is NaN or infinite, or memory ran out.
            SpaceError: there are options.
        """
        check_options(self.choices(), options)
        before = module_in(model, self.name)
        module = copy_module(before).to(lab.training_device)  # what is frozen stays so
        recipe = self.recipe or lab.recipe
        if self.priming_epochs:
            priming = replace(recipe, epochs=self.priming_epochs)
            train_in(lab, module, priming, self.distillation, "priming")
        adapt_layers(module, before, self, model.inputs.blank(2, lab.training_device), lab.seed)
        learning = sum(p.numel() for p in module.parameters() if p.requires_grad)
        train_in(lab, module, recipe, self.distillation, "checkpoint")
        merge_layers(module)
        return make_model(model, module, lab, self._description(recipe, learning, module))

    def _description(self, recipe: Recipe, learning: int, module: nn.Module) -> str:
        share = learning / sum(p.numel() for p in module.parameters())
        primed = f" after {self.priming_epochs} of everything" if self.priming_epochs else ""
        return (
            f"fine-tuned for {describe_epochs(recipe)}{primed}, {share:.1%} of the parameters "
            f"({self.adapter.description})"
        )


def adapt_layers(
    network: nn.Module, before: nn.Module, plan: PartialFineTune, inputs: Inputs, seed: int
) -> None:
    """Freeze a network in place but for what learns, and let linear layers learn in part.

    Args:
        network: As it is after priming.
        before: The same network before it.
        plan: What learns.
        inputs: What a call is given that shows which linear layer is the last.
        seed: Decides whatever is random.

    Raises:
        ExportError: there is no layer to adapt, or no module of a name in ``plan.whole``.
    """
    whole = {_last_linear(network, inputs), *_match_modules(network, plan.whole)}
    layers = _adaptable_layers(network, whole)
    if not layers:
        raise ExportError(
            f"the pass {plan.name!r} found no linear layer of torch.nn besides the last of which a part could learn: "
            "use FineTune() in its place."
        )
    for name, parameter in network.named_parameters():
        learns = parameter.ndim <= 1 or _is_within(name, whole)
        parameter.requires_grad_(parameter.requires_grad and learns)
    generator = torch.Generator().manual_seed(seed)
    for name, layer in layers.items():
        initial = before.get_parameter(f"{name}.weight").detach().to(layer.weight.device)
        adapted = plan.adapter.adapt(layer, initial, generator)
        if adapted is None:
            layer.weight.requires_grad_(True)
        else:
            network.set_submodule(name, adapted)


def merge_layers(network: nn.Module) -> None:
    """Put plain linear layers in the places of those that learned in part."""
    for name, module in list(network.named_modules()):
        if isinstance(module, AdaptedLinear):
            network.set_submodule(name, module.merge())


def _adaptable_layers(network: nn.Module, whole: Iterable[str]) -> dict[str, nn.Linear]:
    """Return linear layers whose weight isn't frozen, has one place in the network, and isn't within ``whole``."""
    modules = list(network.named_modules(remove_duplicate=False))
    uses = Counter(id(p) for _, module in modules for p in module._parameters.values())
    return {
        name: module
        for name, module in modules
        if type(module) is nn.Linear
        and module.weight.requires_grad
        and uses[id(module.weight)] == 1
        and not _is_within(name, whole)
    }


def _is_within(name: str, modules: Iterable[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _match_modules(network: nn.Module, patterns: Sequence[str]) -> set[str]:
    names = [name for name, _ in network.named_modules() if name]
    found = {pattern: {name for name in names if fnmatchcase(name, pattern)} for pattern in patterns}
    missing = next((pattern for pattern, matches in found.items() if not matches), None)
    if missing is not None:
        raise ExportError(
            f"no module of {type(network).__name__} is named {missing!r}, which is to learn as a whole: its modules "
            f"are {reprlib.repr(names)}."
        )
    return {name for matches in found.values() for name in matches}


@torch.no_grad()
def _last_linear(network: nn.Module, inputs: Inputs) -> str:
    """Return the name of the linear layer that is called last; empty where there is none."""
    called = [""]
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: called.append(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        call_network(network, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return called[-1]
