"""Running a network so that every product of matrices is an operation of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from nas.supernet.recurrent import Recurrent


@contextlib.contextmanager
def avoid_fused_kernels(module: nn.Module) -> Iterator[None]:
    """Keep torch from fused kernels of attention and of recurrent layers, which hide what they compute.

    Args:
        module: What will run; other kernels of recurrent layers are slow, so they are used only where it has any.
    """
    recurrent = any(isinstance(layer, nn.RNNBase | Recurrent) for layer in module.modules())
    fast_path = torch.backends.mha.get_fastpath_enabled()
    kernels = (torch._C._set_mkldnn_enabled, torch._C._set_cudnn_enabled)
    were = (torch._C._get_mkldnn_enabled(), torch._C._get_cudnn_enabled())
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        if recurrent:
            for enable in kernels:
                enable(False)
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        if recurrent:
            for enable, was in zip(kernels, were, strict=True):
                enable(was)


@contextlib.contextmanager
def without_fast_path() -> Iterator[None]:
    """Keep torch's Transformer from its fast path, which works on other tensors where there is padding."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
