"""How much channels matter: from their weights alone, or from the loss on training items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from nas.compression.channel_groups import ChannelGroup
from nas.compression.pipeline import Lab
from nas.inputs import call_network, place_inputs

Saliency = Literal["magnitude", "taylor", "hessian"]
SALIENCIES: tuple[Saliency, ...] = get_args(Saliency)
_OfTensor = Callable[[Tensor], Tensor]
_BATCHES, _BATCH_SIZE = 4, 32
"""Training items: with twice as many, pruned networks for digits were no better, and it took longer by half."""


def unit_saliencies(
    saliency: Saliency, groups: Sequence[ChannelGroup], network: nn.Module, lab: Lab
) -> list[Tensor]:
    """Return how much each unit of each group matters, ``(num_units,)`` float64, per channel in it.

    Args:
        saliency: ``magnitude``: the squared norm of a channel's weights (Li 2017, there with absolute values) over
            all layers of its group, each of which counts equally (Fang 2023); on the scale of its group.
            ``taylor``: the square of the loss's first-order change without the channel (Molchanov 2019),
            a mean over batches and a sum over the tensors of its group.
            ``hessian``: the second-order change, half of the Hessian's diagonal times the squared weight (LeCun 1990),
            with the empirical Fisher information for the diagonal (Theis 2018).
            The last two compare over groups.
        groups: Groups of the network's channels.
        network: In evaluation mode.
        lab: With training items and their loss.
    """
    if saliency == "magnitude":
        found = [_of_channels(group, torch.square, _with_mean_one) for group in groups]
    else:
        found = [torch.zeros(group.units.numel(), dtype=torch.float64) for group in groups]
        for size, share in _gradients(network, lab):
            for total, group in zip(found, groups, strict=True):
                if saliency == "taylor":
                    total += share * _of_channels(group, _change, torch.square)
                else:  # a mean of independent items' gradients has the square of one over their number
                    total += share * size / 2 * _of_channels(group, _square_change, lambda sums: sums)
    return [scores[group.units].mean(1) for scores, group in zip(found, groups, strict=True)]


@torch.no_grad()
def _of_channels(group: ChannelGroup, of_weights: _OfTensor, of_channel: _OfTensor) -> Tensor:
    """Return what the parts say of each channel, ``(num_channels,)`` on the CPU.

    Args:
        group: Group of the channels.
        of_weights: Says something of each weight of a tensor, which is added up over those of a channel.
        of_channel: Changes the sums of a part, which are then added up over the parts.
    """
    total = torch.zeros(group.units.numel(), dtype=torch.float64)
    for one in group.slices:
        values = of_weights(one.tensor).movedim(one.dim, 0)
        taken = values.reshape(len(values), -1).sum(1).double().cpu()[one.positions]
        total += of_channel(torch.zeros_like(total).index_add_(0, one.roots, taken))
    return total


def _change(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor * tensor.grad


def _square_change(tensor: Tensor) -> Tensor:
    return _change(tensor).square()


def _with_mean_one(values: Tensor) -> Tensor:
    return values / values.mean().clamp_min(1e-30)  # weights that are all 0 stay so


def _gradients(network: nn.Module, lab: Lab) -> Iterator[tuple[int, float]]:
    """Leave the gradients of one batch's loss after another in the parameters; yield its size, and share of all."""
    size = min(_BATCHES * _BATCH_SIZE, len(lab.train))
    rows = np.random.default_rng(lab.seed).choice(len(lab.train), size, replace=False)
    targets = lab.train.targets
    for chosen in np.array_split(rows, min(_BATCHES, size)):
        network.zero_grad(set_to_none=True)
        inputs = place_inputs(lab.train.batch(np.sort(chosen)), lab.training_device)
        batch = targets[torch.from_numpy(np.sort(chosen)).to(targets.device)].to(lab.training_device)
        with torch.enable_grad():
            lab.task.loss(call_network(network, inputs), batch).backward()
        yield len(chosen), len(chosen) / size
    network.zero_grad(set_to_none=True)
