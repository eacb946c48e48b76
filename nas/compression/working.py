"""What passes on the module have in common: the copy that they work on, and what they hand back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from nas.checks import failing_as
from nas.compression.pipeline import Lab, Model
from nas.errors import ExportError
from nas.inputs import call_network, place_inputs
from nas.supernet.copying import copy_module
from nas.supernet.recalibrate import recalibrate_on

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def module_in(model: Model, name: str) -> nn.Module:
    """Return the module of a model.

    Args:
        model: What a pass was given.
        name: Name of the pass.

    Raises:
        ExportError: only a file is left of it.
    """
    if model.module is None:
        raise ExportError(f"the pass {name!r} works on a module and only a file is left: put it before.")
    return model.module


def make_working_copy(module: nn.Module, lab: Lab) -> nn.Module:
    """Return a copy on the lab's device, all of whose parameters can be trained."""
    return copy_module(module).to(lab.training_device).requires_grad_(True)


def replace_layers(
    network: nn.Module,
    kinds: tuple[type[nn.Module], ...],
    make: Callable[[nn.Module], nn.Module | None],
) -> int:
    """Replace layers in place and return how many; what stands at several places is replaced by one.

    Layers with shared weights stay, and so do those inside torch's own attention and Transformers.

    Args:
        network: Changed.
        kinds: Classes of layers with a ``weight``, exactly these.
        make: Returns what comes into a layer's place, or None to leave it.
    """
    uses = Counter(id(p) for module in network.modules() for p in module._parameters.values())
    made: dict[nn.Module, nn.Module] = {}
    for parent in list(network.modules()):
        if type(parent).__module__.startswith("torch.nn") and not isinstance(parent, _CONTAINERS):
            continue  # reads the weights of its layers itself
        for name, layer in list(parent._modules.items()):
            if layer is None or type(layer) not in kinds:
                continue
            if layer not in made and uses[id(layer._parameters["weight"])] == 1:
                new = make(layer)
                if new is not None:
                    made[layer] = new.to(next(layer.parameters()).dtype).train(layer.training)
            parent._modules[name] = made.get(layer, layer)
    return len(made)


def check_runs(name: str, model: Model, module: nn.Module, lab: Lab) -> None:
    """Run a network, some of whose layers were replaced, on two items.

    Args:
        name: Name of the pass.
        model: What the pass was given.
        module: What it made of it, on the lab's device.
        lab: With the device.

    Raises:
        ExportError: it doesn't run.
    """
    before = module_in(model, name)
    fault = f"{name} can't take {type(before).__name__}, which uses a layer otherwise than by calling it"
    with failing_as(ExportError, fault, "leave the pass out"), torch.no_grad():
        call_network(module, place_inputs(model.inputs.blank(2), lab.training_device))


def make_model(model: Model, module: nn.Module, lab: Lab, what: str, *, recalibrates: bool = True) -> Model:
    """Return a model of a module that was worked on.

    Batch norm is recalibrated; the module gets back to where the one before lies, and so does what can be trained.

    Args:
        model: What the pass was given.
        module: On the lab's device; changed.
        lab: With the data.
        what: Was done.
        recalibrates: False where batch norm sees what it saw before.
    """
    before = module_in(model, what)
    if recalibrates:
        recalibrate_on(module, lab.train, lab.training_device)
    could_learn = {name: p.requires_grad for name, p in before.named_parameters()}
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(could_learn.get(name, True))
        parameter.grad = None
    device = next((t.device for t in before.parameters()), torch.device("cpu"))
    # In torch's own order, in which weights come back from a file, so that sums are the same to the last bit.
    module.to(device=device, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return replace(model, module=module.eval(), onnx=None, applied=(*model.applied, what))
