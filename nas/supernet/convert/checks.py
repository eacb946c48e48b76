"""Checks of a network before its conversion, and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from nas.errors import ConversionError, one_line
from nas.supernet.convert.build import build
from nas.supernet.convert.example import Example, tensors
from nas.supernet.convert.probe import activate
from nas.supernet.convert.proposals import Proposal
from nas.supernet.convert.reference import Reference, difference
from nas.supernet.copying import copy_module
from nas.supernet.sites import find_sites

_REPEATS = 1e-3
"""How far two runs may be apart; some kernels add numbers up in another order each time."""


def runnable_copy(model: nn.Module, examples: Sequence[Example]) -> tuple[nn.Module, dict[str, bool]]:
    """Return a copy in evaluation mode that runs on all examples, and the modes that its modules had.

    Raises:
        ConversionError: it can't be copied, doesn't run, gives no finite tensors, or not the same ones again.
    """
    name = type(model).__name__
    try:
        work = copy_module(model)
    except Exception as error:  # a user's module may hold anything
        raise ConversionError(
            f"{name} can't be copied ({error}): keep only modules, parameters, buffers and plain values in it."
        ) from error
    modes = {path: module.training for path, module in work.named_modules()}
    work.eval()
    for example in examples:
        _check_runs(work, example)
    return work, modes


@torch.no_grad()
def _check_runs(work: nn.Module, example: Example) -> None:
    name, trial = type(work).__name__, copy_module(work)  # a forward may write into its modules
    try:
        output = example.call(trial)
    except Exception as error:  # whatever a user's forward raises
        shapes = ", ".join(str(tuple(x.shape)) for x in example.tensors)
        raise ConversionError(
            f"{name} doesn't run on the example input of shape {shapes} "
            f"({one_line(error)}): give a batch as the network takes it, large enough for its depth, on the model's "
            "device; a list is several examples, and one that forward takes itself goes into a tuple."
        ) from error
    if isinstance(output, list) and any(isinstance(item, Mapping) for item in output):
        raise ConversionError(
            f"{name} returns a list of dictionaries, as detection networks do: how many things are in it depends on "
            "the image, so nothing tells whether a smaller network computes the same. Convert the part of it that maps "
            "a tensor to tensors, such as its backbone."
        )
    made = tensors(output)
    if not made or not all(bool(torch.isfinite(x).all()) for x in made):
        raise ConversionError(
            f"{name} gives {'no tensor' if not made else 'NaN or infinity'} for the example input: finite "
            "tensors are needed to see that it still computes the same."
        )
    try:
        again, cause = tensors(example.call(trial)), None
    except Exception as error:  # of a forward that ran before
        again, cause = [], error
    if difference(again, made) > _REPEATS:
        raise ConversionError(
            f"{name} gives another output when it runs again on the same example: its forward depends "
            "on chance or on earlier calls; make it repeat itself in evaluation mode (dropout with self.training)."
        ) from cause


def check_whole(elastic: nn.Module, accepted: Sequence[Proposal], reference: Reference) -> None:
    """Make sure that the whole network still computes what it did, with its own weights.

    Args:
        elastic: With expressions where active sizes go; isn't changed.
        accepted: What is elastic in it.
        reference: What the original computes.

    Raises:
        ConversionError: it doesn't.
    """
    largest = {p.choice.name: p.choice.options[p.choice.largest_index] for p in accepted}
    trial = reference.prepare_module(build(elastic, ())).eval()
    activate(find_sites(trial), largest)
    found = reference.departs(trial)
    if found is not None:
        raise ConversionError(
            f"the converted {type(elastic).__name__} differs from the original by {found[0]:.1g} of its largest output "
            f"on the example input{found[1]}, which is more than the order of "
            "sums can explain: its forward may depend on chance or on earlier calls; keep such parts fixed with keep."
        )
