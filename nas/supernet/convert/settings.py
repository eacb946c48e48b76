"""The settings of a conversion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import nn

from nas.errors import ConversionError
from nas.supernet.activation import KINDS

RATIOS = (0.25, 0.5, 0.75, 1.0)
"""Shares of a width that stay, unless stated: quarters, into which most widths and numbers of heads can be divided."""


@final
@dataclass(frozen=True)
class Settings:
    """The arguments of :func:`nas.supernet.elastic_module`, which explains them."""

    ratios: Sequence[float] = RATIOS
    multiple_of: int = 8
    keep: Sequence[str] = ()
    max_choices: int | None = None
    kernels: Sequence[int] = ()
    activations: Sequence[str] = ()
    resolutions: Sequence[int] = ()

    def check(self, model: nn.Module) -> None:
        """Raise ConversionError where a setting can't be followed for ``model``."""
        if not self.ratios or not all(0 < ratio <= 1 for ratio in self.ratios):
            raise ConversionError(f"the ratios are {tuple(self.ratios)}: give numbers above 0 and up to 1.")
        if self.multiple_of < 1 or (self.max_choices is not None and self.max_choices < 1):
            raise ConversionError(
                f"multiple_of is {self.multiple_of} and max_choices {self.max_choices}: both must be at least 1."
            )
        known = [path for path, _ in model.named_modules() if path]
        unknown = [self.keep] if isinstance(self.keep, str) else [p for p in self.keep if p not in known]
        if unknown:
            raise ConversionError(
                f"keep names {unknown[0]!r}, which is no module of {type(model).__name__}: give a list of paths as "
                f"named_modules() has them, such as {known[:1]}."
            )
        if not _are_sides(self.kernels):
            raise ConversionError(
                f"kernels is {self.kernels!r}: give the sizes that larger kernels may shrink to, such as (3, 5)."
            )
        if not _are_sides(self.resolutions):
            raise ConversionError(
                f"resolutions is {self.resolutions!r}: give the sides that images may be resized to, such as (48, 64)."
            )
        listed = not isinstance(self.activations, str) and isinstance(self.activations, Sequence)
        if not listed or not all(kind in KINDS for kind in self.activations):
            raise ConversionError(
                f"activations is {self.activations!r}: give a list of some of {', '.join(KINDS)}."
            )

    def kept(self, path: str) -> bool:
        """Whether a module is to be left alone."""
        return any(path == name or path.startswith(f"{name}.") for name in self.keep)


def _are_sides(sides: object) -> bool:
    return isinstance(sides, Sequence) and all(
        isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides
    )
