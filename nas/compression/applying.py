"""Applying a pass, and looking at what it made before that is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from nas.checks import failing_as, quote
from nas.choices import Option
from nas.compression.onnx_files import onnx_of
from nas.compression.pipeline import CompressionPass, Lab, Model, options_for
from nas.errors import ExportError
from nas.evaluation.candidate import OnnxCandidate
from nas.inputs import Inputs, call_network, place_inputs

_ITEMS = 2
"""Items to run a network on; a single one wouldn't show whether the batch size is free."""
_ADVICE = "mend it or take it out of the study, and run the same command again; the weights so far are kept"


def apply_passes(
    passes: Sequence[CompressionPass], model: Model, options: Mapping[str, Option], lab: Lab
) -> Model:
    """Return what passes make of a network, one after another.

    Args:
        passes: In order.
        model: With its module; not changed.
        options: Options of a whole space; each pass gets its own.
        lab: What the passes may use; each has a folder of its own in ``lab.folder``.

    Raises:
        ExportError: a pass raised, or what it made can't stand for the network.
    """
    for made in passes:
        model = apply_pass(made, model, options, replace(lab, folder=lab.folder / made.name))
    return model


def apply_pass(made: CompressionPass, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
    """Return what a pass makes of a network; ``model`` itself where it changes nothing.

    Raises:
        ExportError: it raised, or gave no network with the inputs and outputs of ``model``.
    """
    before = export(model) if made.works_on == "file" else model
    with failing_as(ExportError, f"the pass {made.name!r} failed", _ADVICE):
        after = made.apply(before, options_for(made, options), lab)
    if after is before:
        return model
    part = f"the pass {made.name!r}"
    if not isinstance(after, Model):
        raise ExportError(f"{part} gave {quote(after)}: a nas.compression.Model is expected.")
    if made.works_on == "module" and (after.module is None or after.onnx is not None):
        raise ExportError(f"{part} works on the module and gave none, or a file: a module alone is expected.")
    if made.works_on == "file" and after.onnx is None:
        raise ExportError(f"{part} works on the file and gave none: serialised ONNX is expected.")
    _check_outputs(part, before, after, lab)
    return after


def export(model: Model) -> Model:
    """Return a network with its ONNX file, exported where it has none yet."""
    return model if model.onnx is not None else replace(model, onnx=onnx_of(model))


def _check_outputs(part: str, before: Model, after: Model, lab: Lab) -> None:
    """Refuse what has other inputs than before, or other or no numbers as outputs."""
    inputs = lab.train.sample(_ITEMS)
    if after.onnx is not None and before.onnx is not None:
        source = OnnxCandidate(before.onnx)
        try:
            made = OnnxCandidate(after.onnx)
        except ExportError as error:
            raise ExportError(f"{part} made a file that can't be opened ({error}): {_ADVICE}.") from error
        with failing_as(ExportError, f"what {part} made can't be run", _ADVICE):
            expected, found = source.predict(inputs), made.predict(inputs)
        if made.inputs != source.inputs:
            raise ExportError(
                f"{part} made a network with the inputs {made.inputs.describe()} and {source.inputs.describe()} are "
                f"expected: {_ADVICE}."
            )
    else:
        assert before.module is not None, "a pass on the module is given one"
        assert after.module is not None, "looked at above"
        with failing_as(ExportError, f"what {part} made can't be run", _ADVICE):
            expected, found = (_outputs(m.eval(), inputs) for m in (before.module, after.module))
    if found.shape != expected.shape:
        raise ExportError(
            f"{part} made a network with outputs of shape {tuple(found.shape)} and {tuple(expected.shape)} is "
            f"expected: {_ADVICE}."
        )
    if not found.isfinite().all():
        raise ExportError(f"{part} made a network whose outputs are NaN or infinite: {_ADVICE}.")


@torch.no_grad()
def _outputs(module: nn.Module, inputs: Inputs) -> Tensor:
    device = next(module.parameters()).device
    return call_network(module, place_inputs(inputs, device))
