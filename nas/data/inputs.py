"""Batches of inputs in the form that a network on some device takes them."""

from __future__ import annotations

import torch
from torch import Tensor


def placed(batch: Tensor, device: torch.device) -> Tensor:
    """Return ``batch`` on ``device``; images in channels-last order, which convolutions prefer."""
    moved = batch.to(device)
    return moved.contiguous(memory_format=torch.channels_last) if moved.ndim == 4 else moved


def blank(
    count: int,
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Tensor:
    """Return ``(count, *shape)`` inputs without content, to see what a network does with their shape.

    Floats are 0. Integers are ids and are 1: every vocabulary has it, and 0 means padding by convention,
    which attention leaves out.
    """
    value = 0 if dtype.is_floating_point else 1
    return torch.full((count, *shape), value, dtype=dtype, device=device)
