"""Batch-norm recalibration: statistics that fit one subnet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.data.inputs import placed
from nas.protocols import Split
from nas.space import Architecture
from nas.supernet.elastic import BatchNorm2d
from nas.supernet.supernet import Supernet
from nas.training.memory import halved_to_fit

_IMAGES = 512
_AT_A_TIME = 256


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


def recalibration_batches(split: Split, size: int = _AT_A_TIME) -> Sequence[Tensor]:
    """Return the training images that batch-norm statistics are recalibrated on: 512 random ones, the same always.

    In batches of about equal length, at most ``size``, because all count the same in the average.
    """
    images = split.sample(_IMAGES)
    return images.tensor_split(-(-len(images) // size))


def extract_recalibrated(supernet: Supernet, architecture: Architecture, split: Split) -> nn.Module:
    """Return the subnet as a plain module with batch-norm statistics of its own, in evaluation mode."""
    module = supernet.extract(architecture, config=False).to(memory_format=torch.channels_last)
    device = next(supernet.parameters()).device
    recalibrate_on(module, split, device)
    return module.eval()


def recalibrate_on(module: nn.Module, split: Split, device: torch.device) -> None:
    """Recalibrate batch norm on 512 random training images, by 256, or fewer where memory runs out.

    Raises:
        OutOfMemoryError: memory ran out with a single image.
    """

    def by(size: int) -> None:
        recalibrate(module, (placed(batch, device) for batch in recalibration_batches(split, size)))

    halved_to_fit(by, _AT_A_TIME, "recalibration")
