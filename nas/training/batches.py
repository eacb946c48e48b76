"""Which items make a batch, and in which order."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator

import torch
from torch import Tensor

from nas.splits import Split
from nas.training.memory import is_out_of_memory
from nas.training.recipe import Recipe

logger = logging.getLogger(__name__)


def count_steps(num_items: int, recipe: Recipe) -> int:
    """Return how many steps of the optimizer a training takes."""
    return recipe.epochs * len(_list_sizes(num_items, recipe.batch_size))


def draw_batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the row numbers of an epoch's batches, in random order."""
    return iter(torch.randperm(count, generator=generator).split(_list_sizes(count, size)))


def _list_sizes(count: int, size: int) -> list[int]:
    """Return the sizes of an epoch's batches; a last single row joins the batch before it (batch norm needs two)."""
    whole, rest = divmod(count, size)
    sizes = [size] * whole + [rest] * (rest > 0)
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    return sizes


def place_split(data: Split, device: torch.device) -> Split:
    """Return the split on the device, or its targets alone where the inputs don't fit: these go batch by batch."""
    try:
        return data.to(device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    logger.warning(
        "the training inputs don't fit into the memory of %s: they are copied batch by batch", device
    )
    return dataclasses.replace(data, targets=data.targets.to(device))


@contextlib.contextmanager
def seed_epoch(generator: torch.Generator, device: torch.device, rank: int) -> Iterator[None]:
    """Seed torch's global generator, which augmentation and dropout draw from, and put it back after.

    The seed is drawn anew for each epoch, so that the generator's state alone, which a checkpoint holds, decides what
    a resumed training draws.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed + rank)
        yield
