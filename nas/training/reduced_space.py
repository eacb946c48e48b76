"""Training in a reduced parameter space (Qin 2020): ReLU neurons with weights of length 1 and bounded thresholds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from nas.checks import failing_as
from nas.errors import StudyError
from nas.inputs import call_network, place_inputs
from nas.splits import Split

_BATCH_SIZE = 256
"""Items at a time of the pass that looks which neurons are needed; its result doesn't depend on it."""
_ADVICE = "leave reduced_space out"


@final
@dataclass(frozen=True, eq=False)
class _Neurons:
    """A linear layer with ReLU behind it, and the linear layer that takes what they give."""

    layer: nn.Linear
    following: nn.Linear


@final
class UnitSpheres:
    """Keeps the weights of each ReLU neuron on the unit sphere, and its threshold in an interval.

    A neuron relu(w x + b) is |w| relu((w x + b) / |w|), so its length moves into the weights that take its output.
    Where no input is longer than B, a neuron with b above B is always active and one with b below -B never, as they are
    at these ends, but for a constant that moves into the next threshold. So the network computes what it did.

    A *variant*: the length is moved, and thresholds are put into their intervals, after every step of the optimizer.
    B is measured on the training items in front of the first layer of a row, and follows from there for those behind.

    Args:
        network: Changed: held from now on.
        data: The training split.
        device: Device of the network.

    Raises:
        StudyError: the network has no such neurons, or can't be run on its own.
    """

    def __init__(self, network: nn.Module, data: Split, device: torch.device) -> None:
        self._neurons = list(_find_neurons(network))
        if not self._neurons:
            raise StudyError(
                "the recipe has reduced_space=True and the network has no nn.Linear, nn.ReLU and nn.Linear in a row of "
                "an nn.Sequential, which learn and stand nowhere else: write its neurons so, or leave reduced_space "
                "out."
            )
        behind = {neurons.following for neurons in self._neurons}
        first = [neurons.layer for neurons in self._neurons if neurons.layer not in behind]
        self._bounds = _measure_lengths(network, first, data, device)
        for neurons in self._neurons:
            # |w x| and |b| are at most B each.
            longest = 2 * self._bounds[neurons.layer] * math.sqrt(neurons.layer.out_features)
            self._bounds.setdefault(neurons.following, longest)
        self.hold()

    @torch.no_grad()
    def hold(self) -> None:
        """Move lengths and constants on, row by row from its first layer to its last."""
        for neurons in self._neurons:
            layer, following = neurons.layer, neurons.following
            lengths = layer.weight.norm(dim=1)
            lengths = torch.where(lengths > 0, lengths, 1.0)  # such a neuron is a constant
            layer.weight.div_(lengths[:, None])
            following.weight.mul_(lengths)
            if layer.bias is None:
                continue
            layer.bias.div_(lengths)
            if following.bias is not None:  # which takes the constants
                bound = self._bounds[layer]
                following.bias.add_(following.weight @ (layer.bias - bound).clamp(min=0))
                layer.bias.clamp_(-bound, bound)


def _find_neurons(network: nn.Module) -> Iterator[_Neurons]:
    places = network.named_modules(remove_duplicate=False)
    # A parameter that stands in two places can't be changed for one of them.
    uses = Counter(id(p) for _, module in places for p in module._parameters.values())
    for row in _rows(network):
        for layer, between, following in zip(row, row[1:], row[2:], strict=False):
            if not (type(layer) is type(following) is nn.Linear and type(between) is nn.ReLU):
                continue
            held = [*layer.parameters(), *following.parameters()]
            if all(uses[id(p)] == 1 and p.requires_grad for p in held):
                yield _Neurons(layer, following)


def _rows(module: nn.Module) -> Iterator[list[nn.Module]]:
    """Yield the modules that run one after another in each outermost Sequential."""
    row = list(_flatten(module))
    if len(row) > 1:
        yield row
    for part in row:
        for child in part.children():
            yield from _rows(child)


def _flatten(module: nn.Module) -> Iterator[nn.Module]:
    if type(module).forward is not nn.Sequential.forward:
        yield module
        return
    for child in module.children():
        yield from _flatten(child)


def _measure_lengths(
    network: nn.Module, layers: list[nn.Linear], data: Split, device: torch.device
) -> dict[nn.Linear, float]:
    """Return the length of the longest vector that each layer is given of any training item."""
    longest = dict.fromkeys(layers, 0.0)

    def see(layer: Any, arguments: tuple[Tensor, ...]) -> None:
        longest[layer] = max(longest[layer], float(arguments[0].norm(dim=-1).max()))

    hooks = [layer.register_forward_pre_hook(see) for layer in layers]
    was_training = network.training
    network.eval()
    try:
        with (
            failing_as(StudyError, "the recipe's reduced_space can't run what is trained", _ADVICE),
            torch.no_grad(),
        ):
            for inputs in data.batches(_BATCH_SIZE):
                call_network(network, place_inputs(inputs, device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return longest
