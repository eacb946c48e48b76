"""Where channels lie in a module: dimensions of the tensors that it holds itself."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor, nn

IN, OUT = "in", "out"
FEATURES = "the channels of a norm that holds no tensor"


@final
class Place(NamedTuple):
    """One dimension of a parameter or buffer.

    Args:
        path: Path of the module that holds it.
        name: Name of the tensor in the module.
        dim: Dimension of the tensor.
    """

    path: str
    name: str
    dim: int


def list_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the parameters and buffers of a module's own that may be made of channels, with their names."""
    held = {**module._parameters, **module._buffers}
    return [
        (name, tensor)
        for name, tensor in held.items()
        if tensor is not None and tensor.ndim and tensor.is_floating_point() and not tensor.is_sparse
    ]


def loses_groups(groups: int) -> bool:
    """Whether a convolution loses whole groups, or, where it has few, the same channels of each."""
    return groups >= 4  # then they can be as many as the usual ratios ask for


def channel_dims(module: nn.Module, tensor: Tensor) -> range:
    """Return the dimensions of a module's tensor that may be made of channels.

    Those of a kernel aren't, nor is the second one of a convolution whose groups go as a whole.
    """
    if isinstance(module, nn.modules.conv._ConvNd):
        return range(min(tensor.ndim, 1 if loses_groups(module.groups) else 2))
    return range(tensor.ndim)


def axis_name(module: nn.Module, name: str, dim: int) -> str:
    """Return whether a dimension of a tensor runs along what the module takes or what it makes."""
    if isinstance(module, nn.Embedding):
        return IN if dim == 0 else OUT
    if isinstance(module, nn.RNNBase):
        return IN if dim == 1 and name.startswith("weight_ih") else OUT
    transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
    if isinstance(module, nn.Linear | nn.modules.conv._ConvNd) and name == "weight":
        return OUT if (dim == 0) != transposed else IN
    return OUT


def why_whole(module: nn.Module) -> str | None:
    """Return why no channel of a module can be left out, or None."""
    kind = type(module).__name__
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None:
        return f"an {kind} with max_norm, which rescales whole vectors"
    if isinstance(module, torch.jit.ScriptModule):
        return f"a {kind} whose forward is compiled"
    if isinstance(module, nn.RNNBase) and module.proj_size:
        return f"a {kind} with proj_size"
    return None
