"""Dense layers alone, for vectors and small images; elastic width, depth, hidden width and activation."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from nas import choice
from nas.choices import Size
from nas.supernet import elastic
from nas.supernet.token_layers import LayerNorm

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


class ResidualDense(nn.Module):
    """Two dense layers, normalised first and added to their input.

    Args:
        name: Prefix of this block's choices.
        width: Features of input and output.
    """

    def __init__(self, name: str, width: Size) -> None:
        super().__init__()
        hidden = choice(f"{name}.hidden_ratio", 1, 2, 4) * width
        self.activation = choice(f"{name}.activation", "relu", "gelu")
        self.norm = LayerNorm(width)
        self.widen = elastic.Linear(width, hidden)
        self.narrow = elastic.Linear(hidden, width)

    def forward(self, features: Tensor) -> Tensor:
        """``(n, width)``, unchanged."""
        hidden = _ACTIVATIONS[str(self.activation)](self.widen(self.norm(features)))
        output: Tensor = features + self.narrow(hidden)
        return output


def mlp(classes: int, features: int, scale: float = 1.0) -> nn.Module:
    """Return the network: 7,775 architectures.

    Args:
        classes: Size of the output.
        features: Numbers in one input; of an image, channels times height times width.
        scale: Multiplies the width.

    Shape:
        ``(n, ...)`` with ``features`` numbers each to ``(n, classes)``.
    """
    width = choice("width", *sorted({max(4, round(base * scale / 4) * 4) for base in (16, 32, 64, 96, 128)}))
    return nn.Sequential(
        nn.Flatten(),
        elastic.Linear(features, width),
        elastic.Repeat(
            lambda position: ResidualDense(f"block{position}", width), times=choice("depth", 0, 1, 2, 3, 4)
        ),
        LayerNorm(width),
        elastic.Linear(width, classes),
    )
