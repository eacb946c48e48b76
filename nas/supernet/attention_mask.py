"""What tokens see of each other in attention: less of what is far away, or one direction alone."""

from __future__ import annotations

import math
from typing import cast, final

import torch
from torch import Tensor, nn

from nas.choices import Choice, Option
from nas.errors import SpaceError

DIRECTIONS = ("forward", "backward", "both")
"""Whether a token sees itself and those before it, itself and those after it, or all."""
HIDDEN = -1e4
"""Added to scores of what must not be seen: softmax makes 0 of it, also in half precision, and a row stays finite
where everything is hidden."""


@final
class AttentionMask(nn.Module):
    """Takes ``distance`` times the distance of two tokens off their score, and hides one direction.

    The distance mask of Im 2017 and the directional masks of Shen 2018, except that a token always sees itself, so
    that the first and the last one have something to see.

    Args:
        distance: What is taken off for each token of distance, from 0 on; a number or a choice.
        direction: One of ``DIRECTIONS``, or a choice of them.

    Shape:
        The mask of padding, ``(n, 1, 1, length)``, to what is added to the scores, ``(n, 1, length, length)`` of query
        and key. With distance 0 and both directions the mask of padding comes back as it is.

    Raises:
        SpaceError: an option is no such number or direction.
    """

    def __init__(self, distance: Option | Choice = 0.0, direction: Option | Choice = "both") -> None:
        super().__init__()
        for option in distance.options if isinstance(distance, Choice) else (distance,):
            if not isinstance(option, int | float) or isinstance(option, bool) or not 0 <= option < math.inf:
                raise SpaceError(
                    f"an attention mask has the distance {option!r}: a finite number from 0 on is expected."
                )
        for option in direction.options if isinstance(direction, Choice) else (direction,):
            if option not in DIRECTIONS:
                raise SpaceError(
                    f"an attention mask has the direction {option!r}: one of {DIRECTIONS} is expected."
                )
        self.distance = cast(float, distance)
        self.direction = cast(str, direction)

    def forward(self, padding: Tensor) -> Tensor:
        """Return what is added to the scores."""
        if self.distance == 0 and self.direction == "both":
            return padding
        places = torch.arange(padding.shape[-1], device=padding.device)
        ahead = places[None, :] - places[:, None]  # of the key before the query
        mask = padding - self.distance * ahead.abs().to(padding.dtype)
        if self.direction == "both":
            return mask
        return mask.masked_fill(ahead > 0 if self.direction == "forward" else ahead < 0, HIDDEN)
