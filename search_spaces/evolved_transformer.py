"""Sentences by the cells that the Evolved Transformer was found in (So 2019): stages of two branches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from nas import choice
from nas.choices import Choice, Option, Size
from nas.errors import SpaceError
from nas.supernet import elastic
from nas.supernet.one_of import OneOf
from nas.supernet.token_convolution import TokenConvolution
from nas.supernet.token_layers import HeadMixing, LayerNorm
from search_spaces.text_transformer import SentenceEncoder

_HEAD_SIZE = 16
_WIDTHS = (32, 48, 64, 96, 128)
_STAGES = (2, 3, 4)
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda tokens: tokens,
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
}
_KERNELS = (3, 5, 7, 9)
_OPTIONS: dict[str, tuple[Option, ...]] = {
    "left.layer": ("attention", "gated", "dense", "convolution", "separable"),
    "left.ratio": (1, 2, 4),
    "left.activation": tuple(_ACTIVATIONS),
    "left.kernel": _KERNELS,
    "right.layer": ("none", "identity", "attention", "gated", "dense", "convolution", "separable"),
    "right.halves": (1, 2),
    "right.activation": tuple(_ACTIVATIONS),
    "right.kernel": _KERNELS,
    "combiner": ("add", "multiply"),
    "close.layer": ("dense", "separable"),
    "close.halves": (1, 2),
    "close.kernel": _KERNELS,
}
"""Options of one stage, by the name of the choice. Ratios are of the width of a token, halves are halves of it."""


def _choice(stage: str, name: str) -> Choice:
    return choice(f"{stage}.{name}", *_OPTIONS[name])


class Activated(nn.Module):
    """A layer and an activation.

    Args:
        layer: Takes and returns tokens.
        activation: The name of one, or a choice of them.
    """

    def __init__(self, layer: nn.Module, activation: str | Choice) -> None:
        super().__init__()
        self.layer = layer
        self.activation = activation

    def forward(self, tokens: Tensor, _padding: Tensor) -> Tensor:
        """``(n, length, width)`` to ``(n, length, out_width)``."""
        return _ACTIVATIONS[str(self.activation)](self.layer(tokens))


class Attention(nn.Module):
    """Self-attention without the layer that closes it.

    Args:
        width: Features of a token.
        inner: Features of all heads together.
    """

    def __init__(self, width: Size, inner: Size) -> None:
        super().__init__()
        self.queries = elastic.Linear(width, inner)
        self.keys = elastic.Linear(width, inner)
        self.values = elastic.Linear(width, inner)
        self.mixing = HeadMixing(inner // _HEAD_SIZE, _HEAD_SIZE)

    def forward(self, tokens: Tensor, padding: Tensor) -> Tensor:
        """``(n, length, width)`` to ``(n, length, inner)``."""
        mixed: Tensor = self.mixing(self.queries(tokens), self.keys(tokens), self.values(tokens), padding)
        return mixed


class Gated(nn.Module):
    """A gated linear unit (Dauphin 2017).

    Args:
        width: Features of a token.
        out_width: Features of a token of the output.
    """

    def __init__(self, width: Size, out_width: Size) -> None:
        super().__init__()
        self.values = elastic.Linear(width, out_width)
        self.gates = elastic.Linear(width, out_width)

    def forward(self, tokens: Tensor, _padding: Tensor) -> Tensor:
        """``(n, length, width)`` to ``(n, length, out_width)``."""
        output: Tensor = self.values(tokens) * self.gates(tokens).sigmoid()
        return output


class Unchanged(nn.Module):
    """A branch that gives its input."""

    def forward(self, tokens: Tensor, _padding: Tensor) -> Tensor:
        """Return ``tokens``."""
        return tokens


class Joined(nn.Module):
    """The right branch, joined to the left one; the narrower is padded with what changes nothing.

    Args:
        layer: The right branch, at most as wide as the left one.
        combiner: The choice of how they are joined.
    """

    def __init__(self, layer: nn.Module, combiner: Choice) -> None:
        super().__init__()
        self.layer = layer
        self.combiner = combiner

    def forward(self, left: Tensor, tokens: Tensor, padding: Tensor) -> Tensor:
        """``(n, length, left_width)`` and ``(n, length, width)`` to ``(n, length, left_width)``."""
        right = self.layer(tokens, padding)
        missing = (0, left.shape[-1] - right.shape[-1])
        if str(self.combiner) == "add":
            return left + F.pad(right, missing)
        # What a product leaves unchanged is 1, and what a sum does is 0.
        return left * F.pad(right, missing, value=1.0)


class LeftAlone(nn.Module):
    """No right branch."""

    def forward(self, left: Tensor, _tokens: Tensor, _padding: Tensor) -> Tensor:
        """Return ``left``."""
        return left


class Separable(nn.Sequential):
    """A depthwise convolution along tokens, then a dense layer.

    Args:
        width: Features of a token.
        out_width: Features of a token of the output.
        kernel: How many tokens it sees.
    """

    def __init__(self, width: Size, out_width: Size, kernel: Choice) -> None:
        super().__init__(TokenConvolution(width, None, kernel), elastic.Linear(width, out_width))


class NormedSeparable(nn.Module):
    """A separable convolution that doesn't see padding, normalised first.

    Args:
        width: Features of a token.
        out_width: Features of a token of the output.
        kernel: How many tokens it sees.
    """

    def __init__(self, width: Size, out_width: Size, kernel: Choice) -> None:
        super().__init__()
        self.norm = LayerNorm(width)
        self.layer = Separable(width, out_width, kernel)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """``(n, length, width)`` to ``(n, length, out_width)``; ``keep`` ``(n, length, 1)`` is 0 for padding."""
        output: Tensor = self.layer(self.norm(tokens) * keep)
        return output


class Stage(nn.Module):
    """Two branches of the normalised tokens are joined and closed by a layer; what it gives is added to the tokens.

    Args:
        name: Prefix of its choices.
        width: Features of a token.
    """

    def __init__(self, name: str, width: Size) -> None:
        super().__init__()
        middle = _choice(name, "left.ratio") * width
        right_width, closed = (_choice(name, f"{part}.halves") * width // 2 for part in ("right", "close"))
        # Half of a width may be no whole number of heads, so that attention on the right is as wide as the tokens.
        right = {"identity": Unchanged(), **_layers(name, "right", width, right_width, heads_width=width)}
        joined = {kind: Joined(layer, _choice(name, "combiner")) for kind, layer in right.items()}
        self.norm = LayerNorm(width)
        self.left = OneOf(
            _choice(name, "left.layer"), _layers(name, "left", width, middle, heads_width=middle)
        )
        self.right = OneOf(_choice(name, "right.layer"), {"none": LeftAlone(), **joined})
        self.close = OneOf(
            _choice(name, "close.layer"),
            {
                "dense": Activated(elastic.Linear(middle, closed), "none"),
                "separable": NormedSeparable(middle, closed, _choice(name, "close.kernel")),
            },
        )

    def forward(self, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Tokens ``(n, length, width)`` and mask of padding ``(n, 1, 1, length)``, to the same."""
        tokens, padding = inputs
        keep = (padding[:, 0].transpose(1, 2) == 0).to(tokens.dtype)
        normed = self.norm(tokens) * keep
        closed = self.close(self.right(self.left(normed, padding), normed, padding), keep)
        return tokens + F.pad(closed, (0, tokens.shape[-1] - closed.shape[-1])), padding


def _layers(
    stage: str, branch: str, width: Size, out_width: Size, *, heads_width: Size
) -> dict[str, nn.Module]:
    """Return what a branch can be made of, by name."""
    activation = _choice(stage, f"{branch}.activation")
    return {
        "attention": Attention(width, heads_width),
        "gated": Gated(width, out_width),
        "dense": Activated(elastic.Linear(width, out_width), activation),
        "convolution": Activated(TokenConvolution(width, out_width, 3), activation),
        "separable": Activated(Separable(width, out_width, _choice(stage, f"{branch}.kernel")), activation),
    }


def evolved_transformer(
    classes: int, num_tokens: int = 10_000, length: int = 48, scale: float = 1.0, cells: int = 3
) -> nn.Module:
    """Return the network: 6.7e20 architectures, the plain Transformer and the Evolved Transformer's cell among them.

    All cells of a network are alike, as in So 2019; a cell has up to four stages. There a block takes any earlier
    state; here a stage takes the one before it and adds to it. Meant for ``FromScratch()`` with hurdles, and
    :func:`make_known_cell` as the study's warm start, as there.

    Args:
        classes: Size of the output.
        num_tokens: Ids are smaller than this; 0 is padding.
        length: Length of every sentence, with padding.
        scale: Multiplies the width.
        cells: How many cells there are at most.

    Shape:
        ``(n, length)`` int64 to ``(n, classes)``.
    """
    width = choice("width", *sorted({max(16, round(base * scale / 16) * 16) for base in _WIDTHS}))

    def cell(_position: int) -> nn.Module:
        return elastic.Repeat(lambda number: Stage(f"stage{number}", width), choice("stages", *_STAGES))

    times = choice("cells", *range(1, cells + 1))
    return SentenceEncoder(num_tokens, length, classes, width=width, block=cell, times=times)


_ATTENTION: dict[str, Option] = {"left.layer": "attention", "left.ratio": 1, "close.halves": 2}
_DENSE: dict[str, Option] = {
    "left.layer": "dense",
    "left.ratio": 4,
    "left.activation": "gelu",
    "close.halves": 2,
}
_GATED: dict[str, Option] = {"left.layer": "gated", "left.ratio": 1, "close.halves": 2}
_BRANCHES: dict[str, Option] = {
    "left.layer": "dense",
    "left.ratio": 4,
    "left.activation": "relu",
    "right.layer": "convolution",
    "right.halves": 1,
    "right.activation": "relu",
    "close.layer": "separable",
    "close.kernel": 9,
    "close.halves": 1,
}
_CELLS_KNOWN = {"transformer": (_ATTENTION, _DENSE), "evolved": (_GATED, _BRANCHES, _ATTENTION, _DENSE)}


def make_known_cell(kind: Literal["transformer", "evolved"], width: int, cells: int) -> Mapping[str, Option]:
    """Return an architecture of the space, for a study's warm start: an option for every choice.

    The Transformer has its attention as wide as its tokens, four times as many features in between, and GELU. The
    Evolved Transformer's encoder cell is that of So 2019, except that a dense layer follows its gated unit
    and that its last two layers have GELU as well; it is about as costly as two of the Transformer's.

    Args:
        kind: Which one.
        width: Features of a token.
        cells: How many cells; of the Transformer, layers.

    Raises:
        SpaceError: there is no such cell.
    """
    if kind not in _CELLS_KNOWN:
        raise SpaceError(f"there is no cell {kind!r}: one of {tuple(_CELLS_KNOWN)} is expected.")
    stages = _CELLS_KNOWN[kind]
    options: dict[str, Option] = {"width": width, "cells": cells, "stages": len(stages)}
    for number in range(_STAGES[-1]):
        known = stages[number] if number < len(stages) else {}
        options |= {f"stage{number}.{name}": known.get(name, first[0]) for name, first in _OPTIONS.items()}
    return options
