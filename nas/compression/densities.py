"""How many weights each layer keeps, and when: arithmetic of unstructured pruning."""

from __future__ import annotations

import math
from collections.abc import Sequence


def uniform_densities(shapes: Sequence[Sequence[int]], keep: float) -> list[float]:
    """Return the same share for each layer."""
    return [keep] * len(shapes)


def erk_densities(shapes: Sequence[Sequence[int]], keep: float) -> list[float]:
    """Return shares in proportion to the sum of a layer's sizes over their product (Evci 2020, "ERK").

    Small layers keep more; those that would keep more than all are left dense, and the others share the rest.

    Args:
        shapes: Shapes of the layers' weights.
        keep: Share of all weights together.
    """
    sizes = [math.prod(shape) for shape in shapes]
    raw = [sum(shape) / size for shape, size in zip(shapes, sizes, strict=True)]
    dense: set[int] = set()
    while len(dense) < len(shapes):
        others = [layer for layer in range(len(shapes)) if layer not in dense]
        rest = keep * sum(sizes) - sum(sizes[layer] for layer in dense)
        scale = rest / sum(raw[layer] * sizes[layer] for layer in others)
        full = {layer for layer in others if raw[layer] * scale > 1}
        if not full:
            break
        dense |= full
    return [1.0 if layer in dense else raw[layer] * scale for layer in range(len(shapes))]


def gradual_density(density: float, progress: float) -> float:
    """Return the share that is kept on the way from all to ``density`` (Zhu 2018): fast at first, then slower.

    Args:
        density: In the end.
        progress: From 0 to 1.
    """
    return density + (1 - density) * (1 - min(1.0, progress)) ** 3


def anneal_drop(drop: float, progress: float) -> float:
    """Return the share of a layer's kept weights that is exchanged, which falls to 0 as a cosine (Evci 2020).

    Args:
        drop: At the beginning.
        progress: From 0 to 1.
    """
    return drop / 2 * (1 + math.cos(math.pi * min(1.0, progress)))
