"""Numbers that may be chosen, and arithmetic on them."""

from __future__ import annotations

import abc
import enum
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from nas.errors import SpaceError

Option = int | float | str | bool

_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "*": operator.mul,
    "+": operator.add,
    "//": operator.floordiv,
}


class Expression(abc.ABC):
    """A number that depends on choices: a :class:`Choice`, or arithmetic on choices and integers."""

    @property
    @abc.abstractmethod
    def choices(self) -> tuple[Choice, ...]:
        """Choices that the number depends on, without repeats, in order of appearance."""

    @abc.abstractmethod
    def value(self, options: Mapping[str, Option]) -> Option:
        """Return the number under ``options``, one option per choice name."""

    def values(self) -> Iterator[Option]:
        """Yield the number for every combination of its choices' options."""
        for options in combinations(self.choices):
            yield self.value(options)

    def __mul__(self, other: Expression | int) -> Operation:
        return Operation("*", self, other)

    def __rmul__(self, other: int) -> Operation:
        return Operation("*", other, self)

    def __add__(self, other: Expression | int) -> Operation:
        return Operation("+", self, other)

    def __radd__(self, other: int) -> Operation:
        return Operation("+", other, self)

    def __floordiv__(self, other: Expression | int) -> Operation:
        return Operation("//", self, other)

    def __index__(self) -> int:
        raise SpaceError(f"{self} has no value yet: wrap the whole module in nas.Supernet before it is used.")


@final
@dataclass(frozen=True)
class Choice(Expression):
    """One searchable decision.

    Args:
        name: Unique in its space; dots group choices (``stage1.width``).
        options: What can be chosen, from small to large by convention. Numbers, strings or booleans; kept as plain
            Python values, also where they are numpy's or members of a ``StrEnum`` or ``IntEnum``.

    Raises:
        SpaceError: no name, no options, equal options, or an option that is not a finite plain value.
    """

    name: str
    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise SpaceError(f"a choice needs a name, a non-empty string; got {self.name!r}.")
        if not self.options:
            raise SpaceError(f"choice {self.name!r} has no options: give it at least one.")
        object.__setattr__(self, "options", tuple(_plain(option) for option in self.options))
        for option in self.options:
            if not isinstance(option, int | float | str | bool):
                raise SpaceError(
                    f"choice {self.name!r} has the option {option!r} of type {type(option).__name__}: "
                    "options are int, float, str or bool."
                )
            if isinstance(option, float) and not math.isfinite(option):
                raise SpaceError(f"choice {self.name!r} has the option {option}: options are finite numbers.")
        repeated = [a for a, b in itertools.combinations(self.options, 2) if same(a, b) or a == b]
        if repeated:
            raise SpaceError(
                f"choice {self.name!r} lists the option {repeated[0]!r} more than once in {self.options}: "
                "remove the repeat."
            )

    def __str__(self) -> str:
        return f"choice {self.name!r}"

    @property
    def choices(self) -> tuple[Choice, ...]:
        """This choice alone."""
        return (self,)

    def value(self, options: Mapping[str, Option]) -> Option:
        """Return the option chosen for this choice."""
        return options[self.name]

    def index(self, option: Option) -> int:
        """Return the position of ``option``.

        Raises:
            SpaceError: ``option`` is not one of the options (1 and True are different).
        """
        try:
            return self._positions[type(option), option]
        except (KeyError, TypeError):  # TypeError: not hashable
            if isinstance(option, enum.Enum) and not isinstance(plain := _plain(option), enum.Enum):
                return self.index(plain)
            raise SpaceError(
                f"choice {self.name!r} has no option {option!r}: its options are {self.options}."
            ) from None

    def has(self, option: object) -> bool:
        """Whether ``option`` is one of the options (1, 1.0 and True are different)."""
        try:
            return (type(option), option) in self._positions
        except TypeError:  # not hashable
            return False

    @cached_property
    def _positions(self) -> dict[tuple[type, Option], int]:
        return {(type(option), option): position for position, option in enumerate(self.options)}

    @property
    def smallest_index(self) -> int:
        """Position of the smallest number, or 0 where an option is not a number."""
        return self._extreme(min, 0)

    @property
    def largest_index(self) -> int:
        """Position of the largest number, or the last one where an option is not a number."""
        return self._extreme(max, len(self.options) - 1)

    def _extreme(self, pick: Callable[..., int], default: int) -> int:
        numbers = [option for option in self.options if isinstance(option, int | float)]
        if len(numbers) < len(self.options):
            return default
        return pick(range(len(numbers)), key=numbers.__getitem__)


def _plain(option: Option) -> Option:
    """Return what numpy's scalars and members of enumerations stand for: they wouldn't come back from storage."""
    if isinstance(option, np.generic):
        value: Option = option.item()
        return value
    if isinstance(option, str):
        return str.__str__(option)  # str() of an enumeration's member is its name
    if isinstance(option, int) and not isinstance(option, bool):
        return int.__int__(option)
    return float.__float__(option) if isinstance(option, float) else option


def choice(name: str, *options: Option) -> Choice:
    """Return a :class:`Choice`; reads well where a number would stand: ``choice("width", 16, 32)``."""
    return Choice(name, options)


@final
@dataclass(frozen=True)
class Operation(Expression):
    """``left symbol right`` on integers, where ``symbol`` is ``*``, ``+`` or ``//``."""

    symbol: str
    left: Expression | int
    right: Expression | int

    def __str__(self) -> str:
        return f"({self.left} {self.symbol} {self.right})"

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Choices of both sides."""
        return choices_of(self.left, self.right)

    def value(self, options: Mapping[str, Option]) -> Option:
        """Return the number under ``options``."""
        left, right = (
            side.value(options) if isinstance(side, Expression) else side for side in (self.left, self.right)
        )
        if not isinstance(left, int) or not isinstance(right, int):
            raise SpaceError(f"{self} needs integers on both sides, got {left!r} and {right!r}.")
        if self.symbol == "//" and right == 0:
            raise SpaceError(f"{self} divides by 0: remove that option.")
        return _OPERATORS[self.symbol](left, right)


Size = int | Expression
"""An integer, or one that depends on choices."""


def choices_of(*sizes: Size) -> tuple[Choice, ...]:
    """Return the choices that any of ``sizes`` depends on, without repeats."""
    found = (c for size in sizes if isinstance(size, Expression) for c in size.choices)
    return tuple(dict.fromkeys(found))


def combinations(choices: Sequence[Choice]) -> Iterator[dict[str, Option]]:
    """Yield every combination of the options of ``choices``."""
    names = [c.name for c in choices]
    for options in itertools.product(*(c.options for c in choices)):
        yield dict(zip(names, options, strict=True))


def largest_value(size: Size) -> int:
    """Return the largest integer that ``size`` can be.

    Raises:
        SpaceError: some option makes it something else than a positive integer.
    """
    values = list(size.values()) if isinstance(size, Expression) else [size]
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SpaceError(f"{size} can be {value!r}: a size must be a positive integer.")
    return max(int(value) for value in values)


def same(a: Option, b: Option) -> bool:
    """Equality that keeps 1, 1.0 and True apart."""
    return type(a) is type(b) and a == b
