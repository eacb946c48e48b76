"""Batch-norm recalibration: statistics that fit one subnet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.inputs import Inputs, call_network, count_items, place_inputs, take_items
from nas.space import Architecture
from nas.splits import Split
from nas.supernet.elastic import BatchNorm
from nas.supernet.supernet import Supernet
from nas.training.memory import halve_to_fit

ITEMS = 512
"""Training items that batch-norm statistics are recalibrated on, unless stated. On 64, the digits study's front by
accuracy has 0.942 of the hypervolume and not 0.980; on all 1,077 it has no more (``docs/training.md``)."""
_AT_A_TIME = 256
"""Items in a batch: half of the usual number, as all batches are to count the same."""


@torch.no_grad()
def recalibrate(module: nn.Module, batches: Iterable[Inputs]) -> None:
    """Replace the batch-norm statistics of ``module`` by the average over ``batches`` (Yu 2019).

    Batch norm alone is in training mode meanwhile, so dropout and the like stay off. The module keeps
    its mode and its momentum. In a supernet only the active subnet's part is meaningful afterwards.

    Args:
        module: A plain module or a supernet with the subnet active.
        batches: Training items as the network takes them.
    """
    norms = [m for m in module.modules() if isinstance(m, BatchNorm | _BatchNorm)]
    if not norms:
        return
    was_training = module.training
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        for inputs in batches:
            call_network(module, inputs)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        module.train(was_training)


def recalibration_batches(split: Split, size: int = _AT_A_TIME, items: int = ITEMS) -> Sequence[Inputs]:
    """Return the training items that batch-norm statistics are recalibrated on: random ones, the same always.

    In batches of about equal length, at most ``size``, because all count the same in the average.
    """
    inputs = split.sample(items)
    count = count_items(inputs)
    return [take_items(inputs, rows) for rows in torch.arange(count).tensor_split(-(-count // size))]


def extract_recalibrated(
    supernet: Supernet, architecture: Architecture, split: Split, items: int = ITEMS
) -> nn.Module:
    """Return the subnet as a plain module in evaluation mode.

    Its batch-norm statistics are of its own, on so many items of the split; on 0, they are those of the supernet.
    """
    module = supernet.extract(architecture, config=False).to(memory_format=torch.channels_last)
    device = next(supernet.parameters()).device
    if items:
        recalibrate_on(module, split, device, items)
    return module.eval()


def recalibrate_on(module: nn.Module, split: Split, device: torch.device, items: int = ITEMS) -> None:
    """Recalibrate batch norm on so many random training items, by 256, or fewer where memory runs out.

    Raises:
        OutOfMemoryError: memory ran out with a single item.
    """

    def by(size: int) -> None:
        batches = recalibration_batches(split, size, items)
        recalibrate(module, (place_inputs(batch, device) for batch in batches))

    halve_to_fit(by, _AT_A_TIME, "recalibration")
