"""What passes on the module have in common: the copy that they work on, and what they hand back."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from nas.compression.pipeline import Lab, Model
from nas.errors import ExportError
from nas.supernet.copying import copied
from nas.supernet.recalibrate import recalibrate_on


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


def working_copy(module: nn.Module, lab: Lab) -> nn.Module:
    """Return a copy on the lab's device, all of whose parameters can be trained."""
    return copied(module).to(lab.device).requires_grad_(True)


def finished(model: Model, module: nn.Module, lab: Lab, what: str, *, recalibrates: bool = True) -> Model:
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
        recalibrate_on(module, lab.train, lab.device)
    could_learn = {name: p.requires_grad for name, p in before.named_parameters()}
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(could_learn.get(name, True))
        parameter.grad = None
    device = next((t.device for t in before.parameters()), torch.device("cpu"))
    # In torch's own order, in which weights come back from a file, so that sums are the same to the last bit.
    module.to(device=device, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return replace(model, module=module.eval(), onnx=None, applied=(*model.applied, what))
