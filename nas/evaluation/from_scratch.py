"""Training one architecture from scratch: the honest baseline of every search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from nas.protocols import Split
from nas.space import Architecture
from nas.supernet import Supernet
from nas.training import Recipe, cross_entropy_step, train


def fresh_network(network: Callable[[], nn.Module], seed: int) -> Supernet:
    """Return the network with choices, its weights drawn from ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Supernet(network())


def train_from_scratch(
    network: Callable[[], nn.Module],
    architecture: Architecture,
    data: Split,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
) -> nn.Module:
    """Return ``architecture`` as a plain module, trained with ``recipe`` from random weights.

    Args:
        network: Makes the network with choices.
        architecture: Of its space.
        data: The training split.
        recipe: The same that the supernet is trained with, for a fair comparison.
        seed: Of the weights and of the training.
        device: Where to train.
        checkpoint: As in :func:`nas.training.train`.
    """
    module = fresh_network(network, seed).extract(architecture)
    train(
        module,
        cross_entropy_step(module, recipe),
        data,
        recipe,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
    )
    return module
