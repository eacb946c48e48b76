"""Choices that don't concern channels: smaller kernels, other activations, and smaller images."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from nas.choices import Choice
from nas.errors import ConversionError
from nas.supernet.activation import kind_of
from nas.supernet.convert.dependencies import Fixed
from nas.supernet.convert.example import Example
from nas.supernet.convert.proposals import Activations, Kernel, Resolution
from nas.supernet.convert.report import ACTIVATION, KERNEL
from nas.supernet.convert.settings import Settings
from nas.supernet.cut import has_room, kernel_sides, why_uncropped


def kernel_choices(
    model: nn.Module, settings: Settings, unused: Mapping[str, tuple[str, ...]]
) -> tuple[list[Kernel], list[Fixed]]:
    """Return proposals of smaller kernels, and the convolutions whose kernel can't be smaller, with the reasons."""
    found, fixed = [], []
    for path, layer in model.named_modules():
        side = max(kernel_sides(layer), default=0)
        smaller = [option for option in settings.kernels if option < side]
        if not smaller:
            continue
        assert isinstance(layer, nn.modules.conv._ConvNd)
        options = [option for option in smaller if has_room(layer, option)]
        reason = why_left_out(path, settings, unused) or why_uncropped(layer)
        if reason is None and not options:
            reason = f"none of {', '.join(map(str, smaller))} keeps the size of its output with a padding of 0 or more"
        if reason is None:
            found.append(
                Kernel(Choice(f"{path}.kernel".removeprefix("."), (*sorted(set(options)), side)), path)
            )
        else:
            fixed.append(Fixed(((path, KERNEL),), reason))
    return found, fixed


def activation_choices(
    model: nn.Module, settings: Settings, unused: Mapping[str, tuple[str, ...]]
) -> tuple[list[Activations], list[Fixed]]:
    """Return the activations of each kind as one choice, of which the given kind is the largest option."""
    paths: dict[str, list[str]] = {}
    for path, module in model.named_modules():
        kind = kind_of(module)
        if path and kind is not None and why_left_out(path, settings, unused) is None:
            paths.setdefault(kind, []).append(path)
    found = []
    for kind, where in paths.items():
        others = tuple(name for name in dict.fromkeys(settings.activations) if name != kind)
        if others:
            found.append(Activations(Choice(f"{kind}.activation", (*others, kind)), tuple(where)))
    reason = "it holds no module that is one of torch's activations and may be another one"
    return found, [Fixed((("", ACTIVATION),), reason)] if settings.activations and not found else []


def resolution_choice(example: Example, settings: Settings) -> list[Resolution]:
    """Return the choice of how large images are, if it is wanted; those of the example are the largest option.

    Raises:
        ConversionError: there are no square images of one size in the example, or they aren't larger than asked for.
    """
    if not settings.resolutions:
        return []
    images = [tuple(x.shape[2:]) for x in example.tensors if x.ndim == 4 and x.is_floating_point()]
    if len(set(images)) != 1 or images[0][0] != images[0][1]:
        raise ConversionError(
            f"resolutions is {tuple(settings.resolutions)}, and the example input has "
            f"{f'images of the sizes {images}' if images else 'no images'}: give an example of square images of one "
            "size, (n, channels, side, side), or leave resolutions out."
        )
    side = images[0][0]
    smaller = tuple(sorted({option for option in settings.resolutions if option != side}))
    if not smaller or smaller[-1] > side:
        raise ConversionError(
            f"resolutions is {tuple(settings.resolutions)}, and the example's images have a side of {side}: give "
            "smaller ones; the example's is the largest."
        )
    return [Resolution(Choice("resolution", (*smaller, side)))]


def why_left_out(path: str, settings: Settings, unused: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return why a module is not to be looked at, or None."""
    if settings.kept(path):
        return "it is to be kept"
    idle = any(name == path or name.startswith(f"{path}.") for names in unused.values() for name in names)
    return "the example doesn't use it" if idle else None
