"""Layers that a pass may put where another one stood, and what makes each of them anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from nas.compression.normed_recurrent import NormedRecurrent
from nas.supernet.attention import Attention
from nas.supernet.circulant_layers import CirculantConv2d, CirculantLinear

_Arguments = Callable[[Any], dict[str, Any]]
"""Gives the arguments that make a layer of the same form."""


def _read(*names: str, **flags: str) -> _Arguments:
    """Read attributes of the arguments' names, and by argument which attribute is None where it is False."""

    def arguments(layer: nn.Module) -> dict[str, Any]:
        read = {name: getattr(layer, name) for name in names}
        return read | {name: getattr(layer, tensor) is not None for name, tensor in flags.items()}

    return arguments


def _read_attention(layer: Attention) -> dict[str, Any]:
    return {
        "widths": [layer.query.in_features, layer.kdim, layer.vdim, layer.embed_dim],
        "num_heads": layer.num_heads,
        "head_size": layer.head_dim,
        "biases": [layer.query.bias is not None, layer.out.bias is not None],
        "batch_first": layer.batch_first,
        "dropout": layer.dropout,
    }


_OF_CONVOLUTION = (
    *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    "padding_mode",
)
_OF_BATCH_NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
LAYERS: dict[type[nn.Module], _Arguments] = {
    **{kind: _read(*_OF_CONVOLUTION, bias="bias") for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d)},
    **{
        kind: _read(*_OF_CONVOLUTION, "output_padding", bias="bias")
        for kind in (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    },
    **{kind: _read(*_OF_BATCH_NORM) for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)},
    nn.Linear: _read("in_features", "out_features", bias="bias"),
    CirculantLinear: _read("in_features", "out_features", "block_size", "fourier", bias="bias"),
    CirculantConv2d: _read(
        *("in_channels", "out_channels", "kernel_size", "block_size", "stride", "padding", "dilation"),
        bias="bias",
    ),
    nn.GroupNorm: _read("num_groups", "num_channels", "eps", "affine"),
    nn.LayerNorm: _read("normalized_shape", "eps", "elementwise_affine", bias="bias"),
    nn.Embedding: _read("num_embeddings", "embedding_dim", "padding_idx"),
    nn.MultiheadAttention: _read(
        *("embed_dim", "num_heads", "dropout", "add_zero_attn", "kdim", "vdim", "batch_first"),
        bias="in_proj_bias",
        add_bias_kv="bias_k",
    ),
    Attention: _read_attention,
    NormedRecurrent: _read(
        *(
            "kind",
            "input_size",
            "hidden_size",
            "num_layers",
            "bidirectional",
            "batch_first",
            "dropout",
            "steps",
        ),
    ),
    nn.ReLU: _read("inplace"),
    nn.GELU: _read("approximate"),
    nn.Dropout: _read("p", "inplace"),
    nn.Sequential: _read(),
    nn.Identity: _read(),
}
"""Layers that may stand where another one stood; nothing else is made on the word of a file."""
