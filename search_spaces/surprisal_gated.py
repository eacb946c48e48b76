"""Rows of an image, each through a small or a large branch by how much it surprises; elastic share, width, depth."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas import choice
from nas.choices import Size
from nas.supernet import elastic
from nas.supernet.token_layers import LayerNorm, Positions
from search_spaces.transformer import EncoderBlock
from search_spaces.vision_transformer import TokenAverage

_PENALTY = 1.0
"""Penalty of the ridge regression: very little beside sums over hundreds of images of pixels of variance 1."""


class SurprisalGate(nn.Module):
    """Says which rows of an image are the most surprising ones (Lugosch 2020; a variant).

    A linear autoregressive model predicts each row from those above it; a row's surprisal is the sum of its squared
    errors. It is frozen: :meth:`fit` learns it from images, before any other training. Until then it takes pixels for
    independent noise of mean 0 and variance 1.

    Args:
        rows: Height of the images.
        columns: Width of the images.
        large_percent: How many percent of all rows are the most surprising ones.
    """

    weight: Tensor
    offset: Tensor
    thresholds: Tensor

    def __init__(self, rows: int, columns: int, large_percent: Size) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.large_percent = cast(int, large_percent)
        size = rows * columns
        self.register_buffer("weight", torch.zeros(size, size))
        self.register_buffer("offset", torch.zeros(size))
        self.register_buffer("thresholds", _thresholds_of_noise(columns))

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 1, rows, columns)`` to ``(n, rows)``, True where a row is surprising."""
        return self.surprisal(images) >= self.thresholds[100 - self.large_percent]

    def surprisal(self, images: Tensor) -> Tensor:
        """``(n, 1, rows, columns)`` to ``(n, rows)``, 0 or more."""
        pixels = images.flatten(1)
        wrong = pixels - F.linear(pixels, self.weight, self.offset)
        errors: Tensor = wrong.square().unflatten(1, (self.rows, self.columns)).sum(2)
        return errors

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Learn from images, as the network takes them, to predict rows, and how surprising rows are.

        Thresholds are those of errors on images that were left out one by one, so that shares hold for other images.

        Args:
            images: ``(n, 1, rows, columns)``.
        """
        pixels = images.flatten(1).double()
        surprisals = []
        for start in range(0, self.rows * self.columns, self.columns):
            here = slice(start, start + self.columns)
            above = torch.cat([torch.ones_like(pixels[:, :1]), pixels[:, :start]], 1)
            penalties = torch.full((start + 1,), _PENALTY, dtype=pixels.dtype)
            penalties[0] = 0.0  # the mean is learned as it is
            shares = torch.linalg.solve(above.T @ above + penalties.diag(), above.T)
            solved = shares @ pixels[:, here]
            # The error on an image that was left out, of all images at once: from the diagonal of the hat matrix.
            left_out = (pixels[:, here] - above @ solved) / (1 - (above * shares.T).sum(1, keepdim=True))
            surprisals.append(left_out.square().sum(1))
            self.offset[here] = solved[0].float()
            self.weight[here, :start] = solved[1:].T.float()
        self.thresholds.copy_(torch.cat(surprisals).quantile(torch.linspace(0, 1, 101, dtype=pixels.dtype)))
        self.thresholds[0], self.thresholds[100] = -torch.inf, torch.inf


def _thresholds_of_noise(columns: int) -> Tensor:
    """Return percentiles of the sum of squared normal variables, by the approximation of Wilson and Hilferty."""
    variance = 2 / (9 * columns)
    normal = torch.special.ndtri(torch.linspace(0, 1, 101))
    thresholds: Tensor = columns * (1 - variance + variance**0.5 * normal) ** 3
    return thresholds


class GatedBlock(nn.Module):
    """An encoder block, and then a dense part that is large for some tokens and small for the others.

    In the exported network a branch computes its own tokens alone, so an item costs what its tokens need. Before that
    both compute all of them, which counts as the network's multiplications and changes no answer.

    Args:
        name: Prefix of this block's choices.
        width: Features of a token.
        ratios: Options for the hidden features of the large branch, as multiples of ``width``.
    """

    def __init__(self, name: str, width: Size, ratios: tuple[int, ...]) -> None:
        super().__init__()
        hidden = choice(f"{name}.large_ratio", *ratios) * width
        self.context = EncoderBlock(name, width, heads=(1, 2), head_size=16, ratios=(1,))
        self.norm = LayerNorm(width)
        self.small = elastic.Linear(width, width)
        self.large = nn.Sequential(elastic.Linear(width, hidden), nn.GELU(), elastic.Linear(hidden, width))

    def forward(self, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Tokens ``(n, length, width)`` and which of them are for the large branch ``(n, length)``, to the same."""
        tokens, is_large = inputs
        tokens = self.context(tokens)
        normed = self.norm(tokens)
        # Both branches for all tokens, so that no shape depends on the data.
        if not torch.onnx.is_in_onnx_export():
            return tokens + torch.where(
                is_large.unsqueeze(-1), self.large(normed), self.small(normed)
            ), is_large
        dense = torch.zeros_like(tokens)
        dense[~is_large] = self.small(normed[~is_large])
        dense[is_large] = self.large(normed[is_large])
        return tokens + dense, is_large


class SurprisalGated(nn.Module):
    """Rows as tokens, blocks that are gated by how surprising a row is, and the mean of what they make of them.

    Args:
        classes: Size of the output.
        rows: Height of the images.
        columns: Width of the images.
    """

    def __init__(self, classes: int, rows: int, columns: int) -> None:
        super().__init__()
        width = choice("width", 16, 32, 48)
        self.gate = SurprisalGate(rows, columns, choice("large_percent", 0, 25, 50, 75, 100))
        self.embedding = elastic.Linear(columns, width)
        self.positions = Positions(rows, width)
        self.blocks = elastic.Repeat(
            lambda position: GatedBlock(f"block{position}", width, ratios=(2, 4, 8)),
            times=choice("depth", 1, 2),
        )
        self.head = nn.Sequential(LayerNorm(width), TokenAverage(), elastic.Linear(width, classes))

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 1, rows, columns)`` to ``(n, classes)``."""
        tokens = self.positions(self.embedding(images.squeeze(1)))
        tokens, _ = self.blocks((tokens, self.gate(images)))
        logits: Tensor = self.head(tokens)
        return logits


def surprisal_gated(classes: int, rows: int = 8, columns: int = 8) -> nn.Module:
    """Return the network: 630 architectures, for grey images.

    The share of rows that go through the large branches is a choice. Fit ``network.gate`` to images before the
    training: see :mod:`studies.digits_gated`.

    Args:
        classes: Size of the output.
        rows: Height of the images.
        columns: Width of the images.

    Shape:
        ``(n, 1, rows, columns)`` to ``(n, classes)``.
    """
    return SurprisalGated(classes, rows, columns)
