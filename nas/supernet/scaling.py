"""Compound scaling: a larger network of the same kind as one that was found (Tan 2019, EfficientNet)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import final

from torch import nn

from nas.checks import check_integers, check_kind
from nas.choices import Option, replace_options
from nas.errors import SpaceError, StudyError
from nas.supernet.resized import Enlarged

_LEAST_KEPT = 0.9
"""Least share of a width that rounding leaves (Tan 2019, after Sandler 2018): less would undo the scaling."""


@final
@dataclass(frozen=True)
class Scaling:
    """Which choices of a space say how wide and how deep a network is.

    Args:
        width: Patterns of names, as file names have them: ``("*.width",)``.
        depth: By pattern, how many blocks stand there besides those that the choice adds:
            ``{"stage*.extra_depth": 1}``.
        divisor: Scaled widths are multiples of it.

    Raises:
        StudyError: a part is of another kind or out of range.
    """

    width: tuple[str, ...] = ("*width",)
    depth: Mapping[str, int] = field(default_factory=lambda: {"*depth": 0})
    divisor: int = 8

    def __post_init__(self) -> None:
        check_kind("Scaling", "width", self.width, tuple, "a tuple of patterns such as ('*.width',)")
        check_kind("Scaling", "depth", self.depth, Mapping, "a dict such as {'stage*.extra_depth': 1}")
        check_integers(self, "divisor")
        numbers = [n for n in self.depth.values() if isinstance(n, int) and n >= 0]
        if len(numbers) < len(self.depth) or self.divisor < 1:
            raise StudyError(
                f"Scaling has depth={dict(self.depth)} and divisor={self.divisor}: numbers of blocks from 0 on, and a "
                "divisor from 1 on, are expected."
            )

    def is_width(self, name: str) -> bool:
        """Whether a choice says how wide something is."""
        return any(fnmatchcase(name, pattern) for pattern in self.width)

    def blocks_besides(self, name: str) -> int | None:
        """Return how many blocks stand besides those that a choice adds; None where it says nothing of depth."""
        return next((n for pattern, n in self.depth.items() if fnmatchcase(name, pattern)), None)


@final
@dataclass(frozen=True)
class Factors:
    """How much a network grows.

    Args:
        depth: By how much numbers of blocks grow.
        width: By how much widths grow.
        resolution: By how much height and width of the images grow.
    """

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0


@final
@dataclass(frozen=True)
class Growth:
    """One architecture of a space, made larger than the space allows.

    A block that the architecture doesn't have takes the options of the nearest one.

    Args:
        options: The architecture's, of its active choices alone.
        scaling: Which choices grow.
        factors: By how much.
    """

    options: Mapping[str, Option]
    scaling: Scaling
    factors: Factors

    def __call__(self, name: str, options: tuple[Option, ...]) -> tuple[Option, ...]:
        """Return the one option that a choice of the space has now."""
        option = self.options.get(name)
        if option is None:
            option = self._of_nearest(name, options)
        besides = self.scaling.blocks_besides(name)
        if besides is not None:
            return (scale_depth(_whole(name, option), besides, self.factors.depth),)
        if self.scaling.is_width(name):
            return (scale_width(_whole(name, option), self.factors.width, self.scaling.divisor),)
        return (option,)

    def describe(self) -> dict[str, object]:
        """Return it as plain values that JSON gives back as they are."""
        described = asdict(self)
        described["scaling"]["width"] = list(self.scaling.width)
        return described

    def _of_nearest(self, name: str, options: tuple[Option, ...]) -> Option:
        """Return the option of the choice that is named alike but for its numbers, and is nearest in these."""
        kind, place = _apart(name)
        alike = [
            (tuple(abs(a - b) for a, b in zip(_apart(known)[1], place, strict=True)), option)
            for known, option in self.options.items()
            if _apart(known)[0] == kind
        ]
        return min(alike, key=lambda one: one[0])[1] if alike else options[-1]


@final
@dataclass(frozen=True)
class ScaledNetwork:
    """Makes a grown architecture by the space's own code: a network whose choices have one option each.

    A network for larger images enlarges them itself.

    Args:
        network: Makes the network with choices, which it makes by :func:`nas.choice`.
        growth: Which architecture grows, and by how much.
    """

    network: Callable[..., nn.Module]
    growth: Growth

    def __call__(self, **arguments: object) -> nn.Module:
        """Return the network, its arguments those of the space's own function."""
        with replace_options(self.growth):
            network = self.network(**arguments)
        factor = self.growth.factors.resolution
        return network if factor == 1.0 else Enlarged(network, factor)


def scale_depth(chosen: int, besides: int, factor: float) -> int:
    """Return a number of blocks, without those that are always there, when all of them grow by a factor."""
    return max(round((chosen + besides) * factor) - besides, 0)


def scale_width(width: int, factor: float, divisor: int) -> int:
    """Return a width that grows by a factor, as a multiple of ``divisor`` that is not below nine tenths of it."""
    if factor == 1.0:
        return width
    exact = width * factor
    rounded = max(divisor, int(exact / divisor + 0.5) * divisor)
    return rounded + divisor if rounded < _LEAST_KEPT * exact else rounded


def _whole(name: str, option: Option) -> int:
    if not isinstance(option, int) or isinstance(option, bool):
        raise SpaceError(
            f"choice {name!r} is {option!r}, which can't be scaled: state in Scaling which choices are whole numbers "
            "of channels or blocks."
        )
    return option


def _apart(name: str) -> tuple[str, tuple[int, ...]]:
    """Return a name without its numbers, and these."""
    return re.sub(r"\d+", "#", name), tuple(int(number) for number in re.findall(r"\d+", name))
