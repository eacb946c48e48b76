"""Pictures of segmented images, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nas.space import FloatArray, IntArray

_IGNORED = (0.82, 0.83, 0.85)


def masks_png(images: FloatArray, truth: IntArray, predicted: IntArray, names: Sequence[str]) -> bytes:
    """Return images beside their true and their predicted masks, a row each.

    Args:
        images: ``(n, 1 or 3, height, width)`` in any range.
        truth: ``(n, height, width)`` classes; any other number is no class, and grey.
        predicted: ``(n, height, width)`` classes.
        names: By class.
    """
    colours = class_colours(len(names))
    figure = Figure(figsize=(7.2, 0.5 + 1.9 * len(images)), layout="constrained")
    axes = figure.subplots(len(images), 3, squeeze=False)
    for axis, title in zip(axes[0], ("image", "truth", "predicted"), strict=True):
        axis.set_title(title, fontsize=10)
    for row, image, true, found in zip(axes, images, truth, predicted, strict=True):
        shown = (_pixels(image), _colour_mask(true, colours), _colour_mask(found, colours))
        for axis, picture in zip(row, shown, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_axis_off()
    present = np.unique(np.concatenate([truth.ravel(), predicted.ravel()]))
    handles = [
        Patch(color=colours[number], label=names[number]) for number in present if 0 <= number < len(names)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def class_colours(count: int) -> list[tuple[float, float, float]]:
    """Return a colour for each class, as different as the palette has them."""
    palette = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined] # of a listed map
    ordered = [*palette[::2], *palette[1::2]]  # strong ones first
    return [to_rgb(ordered[number % len(ordered)]) for number in range(count)]


def _pixels(image: FloatArray) -> FloatArray:
    low, high = float(image.min()), float(image.max())
    scaled = (image - low) / (high - low if high > low else 1.0)
    return (
        np.repeat(scaled, 3, axis=0).transpose(1, 2, 0) if len(image) == 1 else scaled[:3].transpose(1, 2, 0)
    )


def _colour_mask(mask: IntArray, colours: Sequence[tuple[float, float, float]]) -> FloatArray:
    table = np.array([*colours, _IGNORED])
    known = (mask >= 0) & (mask < len(colours))
    picture: FloatArray = table[np.where(known, mask, len(colours))]
    return picture
