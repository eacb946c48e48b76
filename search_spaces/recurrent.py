"""Recurrent networks that read an image by its rows, or a sentence; elastic cell, width, layers and directions."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from nas import choice
from nas.choices import Size
from nas.supernet import elastic
from nas.supernet.one_of import OneOf
from nas.supernet.recurrent import GRU, LSTM
from nas.supernet.token_layers import Embedding


class Reader(nn.Module):
    """Recurrent layers whose directions are added up (Amodei 2016), so that a unit means the same with one or two.

    Args:
        features: Features of a step.
        width: Units of each layer and direction.
    """

    def __init__(self, features: Size, width: Size) -> None:
        super().__init__()
        directions = choice("directions", 1, 2)
        sizes = (features, width, choice("layers", 1, 2, 3), directions)
        self.directions = cast(int, directions)
        self.cells = OneOf(choice("cell", "gru", "lstm"), {"gru": GRU(*sizes), "lstm": LSTM(*sizes)})

    def forward(self, steps: Tensor) -> Tensor:
        """``(n, steps, features)`` to ``(n, steps, width)``."""
        outputs: Tensor = self.cells(steps)[0]
        return outputs.unflatten(2, (self.directions, -1)).sum(2) if self.directions > 1 else outputs


class RowClassifier(nn.Module):
    """Reads an image from its first row to its last.

    Args:
        classes: Size of the output.
        features: Numbers in a row.
        scale: Multiplies the width.
    """

    def __init__(self, classes: int, features: int, scale: float) -> None:
        super().__init__()
        width = choice("width", *_scale_widths(scale, 16, 24, 32, 40, 48, 56, 64))
        self.reader = Reader(features, width)
        self.head = elastic.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """``(n, channels, h, w)`` to ``(n, classes)``."""
        logits: Tensor = self.head(self.reader(images.transpose(1, 2).flatten(2)).mean(1))
        return logits


class SentenceClassifier(nn.Module):
    """Reads a sentence, and takes the mean of what it thinks at each word.

    Args:
        classes: Size of the output.
        num_tokens: Ids are smaller than this; 0 is padding.
        scale: Multiplies the width and the embedding.
    """

    def __init__(self, classes: int, num_tokens: int, scale: float) -> None:
        super().__init__()
        features = choice("embedding", *_scale_widths(scale, 32, 48, 64, 96))
        width = choice("width", *_scale_widths(scale, 16, 32, 48, 64, 96))
        self.embedding = Embedding(num_tokens, features)
        self.reader = Reader(features, width)
        self.head = elastic.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """``(n, length)`` int64 to ``(n, classes)``."""
        vectors = self.embedding(ids)
        words = (ids != 0).to(vectors.dtype).unsqueeze(2)
        # Zeros before, so that padding brings nothing in, and after, so that it doesn't count in the mean.
        outputs = self.reader(vectors * words) * words
        logits: Tensor = self.head(outputs.sum(1) / words.sum(1).clamp_min(1))
        return logits


def _scale_widths(scale: float, *widths: int) -> list[int]:
    return sorted({max(8, round(width * scale / 8) * 8) for width in widths})


def recurrent_rows(
    classes: int, channels: int = 1, resolution: tuple[int, int] = (8, 8), scale: float = 1.0
) -> nn.Module:
    """Return a network that reads an image by its rows: 84 architectures.

    Args:
        classes: Size of the output.
        channels: Channels of the images.
        resolution: Height and width of the images.
        scale: Multiplies the width.

    Shape:
        ``(n, channels, *resolution)`` to ``(n, classes)``.
    """
    return RowClassifier(classes, channels * resolution[1], scale)


def recurrent_text(classes: int, num_tokens: int = 10_000, scale: float = 1.0) -> nn.Module:
    """Return a network that reads a sentence, on the vocabulary of :class:`nas.data.TextTable`: 240 architectures.

    Padding is a step of zeros: it doesn't count in the mean and comes last, but the second direction reads it first.

    Args:
        classes: Size of the output.
        num_tokens: Ids are smaller than this; 0 is padding.
        scale: Multiplies the width and the embedding.

    Shape:
        ``(n, length)`` int64 to ``(n, classes)``.
    """
    return SentenceClassifier(classes, num_tokens, scale)
