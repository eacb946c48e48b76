"""Batch-norm recalibration: statistics that fit one subnet."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.supernet.elastic import BatchNorm2d


@torch.no_grad()
def recalibrate(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the batch-norm statistics of ``module`` by the average over ``batches`` (Yu 2019).

    Batch norm alone is in training mode meanwhile, so dropout and the like stay off. The module keeps
    its mode and its momentum. In a supernet only the active subnet's part is meaningful afterwards.

    Args:
        module: A plain module or a supernet with the subnet active.
        batches: ``(n, channels, height, width)`` training images.
    """
    norms = [m for m in module.modules() if isinstance(m, BatchNorm2d | _BatchNorm)]
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
        for images in batches:
            module(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        module.train(was_training)
