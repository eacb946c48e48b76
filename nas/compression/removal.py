"""A network without some of its channels, as far as it runs without them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from nas.compression.channel_groups import channel_groups
from nas.compression.heads import update_sizes
from nas.compression.pipeline import Lab
from nas.compression.working import make_working_copy
from nas.errors import one_line
from nas.inputs import Inputs, call_network, place_inputs

logger = logging.getLogger(__name__)


def copy_with_units(
    before: nn.Module, kept: Mapping[str, Tensor], example: Inputs, lab: Lab
) -> nn.Module | str:
    """Return a copy with these units of groups, or what is wrong with any that is smaller.

    Groups without some of whose channels it doesn't run, and gives outputs of the same shape, stay whole.

    Args:
        before: In evaluation mode; not changed.
        kept: Numbers of units by the names of groups.
        example: A small batch on the lab's device.
        lab: With the device.
    """
    with torch.no_grad():
        shape = call_network(before, place_inputs(example, next(before.parameters()).device)).shape
    copy = _attempt(before, kept, example, shape, lab)
    if isinstance(copy, nn.Module):
        return copy
    alone = {name: _attempt(before, {name: units}, example, shape, lab) for name, units in kept.items()}
    able = {name: kept[name] for name, tried in alone.items() if isinstance(tried, nn.Module)}
    logger.info("%s stay whole: %s", sorted(kept.keys() - able), copy)
    return _attempt(before, able, example, shape, lab) if able else copy


def _attempt(
    before: nn.Module, kept: Mapping[str, Tensor], example: Inputs, shape: torch.Size, lab: Lab
) -> nn.Module | str:
    copy = make_working_copy(before, lab)
    tied = _find_tied(copy)
    try:
        for group in channel_groups(copy, example):
            if group.name in kept:
                group.keep(kept[group.name])
        update_sizes(copy)
        with torch.no_grad():
            given = call_network(copy, example).shape
    except Exception as error:  # Torch-Pruning and the network each have their own
        return f"without some channels it doesn't run: {one_line(error)}"
    if given != shape:
        return f"without some channels its output becomes {tuple(given)} instead of {tuple(shape)}"
    return copy if _tie(copy, tied) else "layers that share weights would keep different channels"


def _find_tied(module: nn.Module) -> list[list[str]]:
    """Return the names of parameters that several layers share."""
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [same for same in names.values() if len(same) > 1]


def _tie(module: nn.Module, tied: Sequence[Sequence[str]]) -> bool:
    """Let layers share parameters again; False where these have become different."""
    for same in tied:
        found = [module.get_parameter(name) for name in same]
        if any(p.shape != found[0].shape or not torch.equal(p, found[0]) for p in found):
            return False
        for name in same[1:]:
            owner, _, key = name.rpartition(".")
            module.get_submodule(owner)._parameters[key] = found[0]
    return True
