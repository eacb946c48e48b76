"""A coarse network sees a whole image, and a fine one the patches that matter; elastic number of these, widths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas import choice
from nas.choices import Size
from nas.errors import SpaceError
from nas.supernet import elastic
from nas.supernet.skipping import Skippable

_CELL = 8
"""Distance of two patches, in pixels."""
_MARGIN = 2
"""What a patch shows of its neighbours on each side, in pixels."""
_PATCH = _CELL + 2 * _MARGIN
_SHRINK = 2
"""What the coarse network's images are smaller by; it divides the cell and the margin."""


class Head(nn.Module):
    """The smooth maximum of each feature over all positions, and a linear layer on top.

    It is no ``nn.Linear``, which a compression pass may replace, because the weight is needed to derive what comes out.

    Args:
        features: How many features a position has.
        classes: Size of the output.
        positions: How many positions there are; a number of Python, because an exporter asks where one is computed from
            a tensor's shape whether it depends on how many images there are.
    """

    def __init__(self, features: int, classes: int, positions: int) -> None:
        super().__init__()
        self.log_positions = math.log(positions)
        self.weight = nn.Parameter(torch.empty(classes, features))
        self.bias = nn.Parameter(torch.empty(classes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw initial weights as torch's linear layer does."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, features: Tensor) -> Tensor:
        """``(n, positions, features)`` to ``(n, classes)``."""
        pooled = features.logsumexp(1) - self.log_positions
        return F.linear(pooled, self.weight, self.bias)


class EntropySaliency(nn.Module):
    """How much a position's features matter to the entropy of what is predicted (Almahairi 2016)."""

    def forward(self, features: Tensor, _images: Tensor, head: Head) -> Tensor:
        """Return the norm of the entropy's gradient with respect to the features of each position, in closed form.

        With p = softmax(z), H = -sum(p log p), z = W m + b and m the smooth maximum over positions c, it is

            dH/dz = -p (log p + H),    dH/dm = W^T dH/dz,    dH/dc = softmax over positions(c) dH/dm,

        so that the exported network needs no automatic differentiation.

        Args:
            features: ``(n, positions, features)``.
            head: What predicts from them.

        Returns:
            ``(n, positions)``, 0 or more.
        """
        logs = head.forward(features).log_softmax(1)
        entropy = -(logs.exp() * logs).sum(1, keepdim=True)
        by_pooled = -logs.exp() * (logs + entropy) @ head.weight
        gradient = features.softmax(1) * by_pooled.unsqueeze(1)
        norms: Tensor = gradient.norm(dim=2)
        return norms


class Refinement(nn.Module):
    """Computes the features of the most salient positions anew, from their patches in full resolution.

    Args:
        side: Side of the images, in pixels.
        features: How many features a position has.
        patches: How many positions to refine.
        left_out: Probability that an item of a training batch isn't refined. So the coarse features alone learn to
            predict too, without which their entropy would say little.
    """

    corners: Tensor
    offsets: Tensor

    def __init__(self, side: int, features: int, patches: Size, left_out: float) -> None:
        super().__init__()
        self.patches = cast(int, patches)
        self.left_out = left_out
        self.saliency: nn.Module = EntropySaliency()
        width = choice("fine.width", 32, 64, 96)
        self.fine = nn.Sequential(
            elastic.Linear(_PATCH * _PATCH, width, positions=patches),
            nn.ReLU(),
            elastic.Repeat(
                lambda _: nn.Sequential(elastic.Linear(width, width, positions=patches), nn.ReLU()),
                times=choice("fine.extra_depth", 0, 1),
            ),
            elastic.Linear(width, features, positions=patches),
        )
        row = side + 2 * _MARGIN  # a padded image's, whose pixels are numbered row by row
        self.register_buffer("corners", _grid(side // _CELL, _CELL, row), persistent=False)
        self.register_buffer("offsets", _grid(_PATCH, 1, row), persistent=False)

    def forward(self, features: Tensor, images: Tensor, head: Head) -> Tensor:
        """Return ``(n, positions, features)`` with some replaced, given images ``(n, 1, side, side)``."""
        with torch.no_grad():
            chosen = self.saliency(features, images, head).topk(self.patches).indices
        pixels = self.corners[chosen].unsqueeze(2) + self.offsets
        padded = F.pad(images, (_MARGIN,) * 4).flatten(1)
        fine = self.fine(padded.gather(1, pixels.flatten(1)).view_as(pixels))
        refined = features.scatter(1, chosen.unsqueeze(2).expand_as(fine), fine)
        if not self.training:
            return refined
        is_coarse = torch.rand(len(images), 1, 1, device=images.device) < self.left_out
        return torch.where(is_coarse, features, refined)


def _grid(count: int, step: int, row: int) -> Tensor:
    """Return the numbers of ``count`` times ``count`` pixels of an image whose rows have so many."""
    steps = torch.arange(count) * step
    return (steps.unsqueeze(1) * row + steps).flatten()


class DynamicCapacity(nn.Module):
    """Coarse features of every position, some of them made anew by a fine network, and a head on all of them.

    Args:
        classes: Size of the output.
        side: Side of the images, in pixels.
        patches: Options for how many positions the fine network sees.
        features: How many features a position has.
        left_out: See :class:`Refinement`.
    """

    def __init__(
        self, classes: int, side: int, patches: Sequence[int], features: int, left_out: float
    ) -> None:
        super().__init__()
        width = choice("coarse.width", 4, 8, 16)
        self.coarse = nn.Sequential(
            nn.AvgPool2d(_SHRINK),
            elastic.Conv2d(1, width, _PATCH // _SHRINK, stride=_CELL // _SHRINK, padding=_MARGIN // _SHRINK),
            nn.ReLU(),
            elastic.Conv2d(width, features, 1),
        )
        count = choice("patches", *patches)
        self.refine = Skippable(Refinement(side, features, count, left_out), 0, count, alone=False)
        self.head = Head(features, classes, (side // _CELL) ** 2)

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 1, side, side)`` to ``(n, classes)``."""
        features = self.coarse(images).flatten(2).transpose(1, 2)
        logits: Tensor = self.head(self.refine(features, images, self.head))
        return logits


def dynamic_capacity(
    classes: int,
    side: int = 32,
    patches: Sequence[int] = (0, 1, 2, 4, 8),
    features: int = 32,
    left_out: float = 0.25,
) -> nn.Module:
    """Return the network: 75 architectures, for grey images that are made of cells of 8 pixels.

    A position is a cell; its patch has 12 pixels a side. The coarse network sees it in half the resolution, the fine
    one as it is, at as many positions as the choice ``patches`` says; with 0, the coarse network is alone.

    Args:
        classes: Size of the output.
        side: Side of the images, in pixels; a multiple of 8.
        patches: Options for how many positions the fine network sees.
        features: How many features a position has, coarse or fine.
        left_out: Probability that an item of a training batch isn't refined.

    Shape:
        ``(n, 1, side, side)`` to ``(n, classes)``.

    Raises:
        SpaceError: the side isn't made of cells, or an option isn't a number of positions.
    """
    if side < _CELL or side % _CELL:
        raise SpaceError(f"dynamic_capacity has side={side}: a multiple of {_CELL} pixels is expected.")
    positions = (side // _CELL) ** 2
    if not all(isinstance(count, int) and 0 <= count <= positions for count in patches):
        raise SpaceError(
            f"dynamic_capacity has patches={tuple(patches)}: integers from 0 to {positions}, the number of positions "
            f"of an image of {side} pixels a side, are expected."
        )
    return DynamicCapacity(classes, side, patches, features, left_out)
