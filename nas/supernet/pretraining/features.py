"""What a network makes of its inputs before its last layer, and layers that take as much of it as there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import StudyError
from nas.inputs import Inputs, InputSpec, call_network
from nas.space import Architecture
from nas.supernet.sandwich import draw_architectures
from nas.supernet.supernet import Supernet
from nas.training import Recipe


@final
class Leading(nn.Linear):
    """A linear layer that takes the first features, as many as there are: an active subnet may have fewer."""

    def forward(self, features: Tensor) -> Tensor:
        """``(..., k)`` to ``(..., out_features)``, k at most ``in_features``."""
        return F.linear(features, self.weight[:, : features.shape[-1]], self.bias)


@final
class Features:
    """What goes into the last layer of a network that has weights: ``(n, width)``.

    Args:
        network: In any mode; not changed.
        inputs: What it takes.
        whose: Begins the sentence where there are no such features.

    Raises:
        StudyError: what goes into it is no vector for each item.
    """

    def __init__(self, network: nn.Module, inputs: InputSpec, whose: str) -> None:
        self._network = network
        device = next(network.parameters()).device
        self._layer = _last_to_run(network, inputs.blank(2, device))
        found = run_in_evaluation(network, lambda: self.of(inputs.blank(2, device)))
        if found.ndim != 2:
            raise StudyError(
                f"{whose} has {tuple(found.shape)} in front of its last layer, a {type(self._layer).__name__}: "
                "(n, features) is expected, of a network that ends with a linear layer."
            )
        self.width = found.shape[1]

    def of(self, inputs: Inputs) -> Tensor:
        """Return the features of a batch; the network is run."""
        seen: list[Tensor] = []

        def remember(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            seen.append(arguments[0])

        hook = self._layer.register_forward_pre_hook(remember)
        try:
            call_network(self._network, inputs)
        finally:
            hook.remove()
        return seen[-1]


@torch.no_grad()
def run_in_evaluation(network: nn.Module, look: Callable[[], Tensor]) -> Tensor:
    """Return what ``look`` does while the network is in evaluation mode, without gradients."""
    was_training = network.training
    network.eval()
    try:
        return look()
    finally:
        network.train(was_training)


def _last_to_run(network: nn.Module, inputs: Inputs) -> nn.Module:
    """Return the last module to begin that has weights of its own."""
    ran: list[nn.Module] = []
    weighted = [m for m in network.modules() if next(m.parameters(recurse=False), None) is not None]
    hooks = [m.register_forward_pre_hook(lambda module, _: ran.append(module)) for m in weighted]
    try:
        run_in_evaluation(network, lambda: call_network(network, inputs))
    finally:
        for hook in hooks:
            hook.remove()
    return ran[-1]


def draw_subnets(supernet: Supernet, num_random: int, generator: torch.Generator) -> list[Architecture]:
    """Return the largest subnet, random ones and the smallest (Yu 2019)."""
    space = supernet.space
    return [space.largest(), *draw_architectures(supernet, num_random, generator), space.smallest()]


def check_settings(holder: str, recipe: Recipe, num_random: int) -> None:
    """Refuse what no pre-training can be made with.

    Raises:
        StudyError: the recipe mixes items or re-parametrises layers, or the number is negative.
    """
    if recipe.mix is not None:
        raise StudyError(f"{holder} has a recipe with mix={recipe.mix!r}, which needs labels: leave it out.")
    if recipe.reduced_space:
        raise StudyError(
            f"{holder} has a recipe with reduced_space=True, which changes layers that subnets share: leave it out."
        )
    if num_random < 0:
        raise StudyError(f"{holder} has num_random={num_random}: 0 or more is needed.")
