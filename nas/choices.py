"""Numbers that may be chosen, and arithmetic on them."""

from __future__ import annotations

import abc
import contextlib
import enum
import itertools
import math
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn, final

import numpy as np

from nas.checks import is_utf8, quote
from nas.errors import SpaceError

Option = int | float | str | bool

_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "*": operator.mul,
    "+": operator.add,
    "-": operator.sub,
    "//": operator.floordiv,
    "min": min,
}
_MOST_OPTIONS = 1_000
"""A choice has at most so many: each is a column of the surrogates' encodings, and a search sees some hundred
architectures."""
_MOST_COMBINATIONS = 100_000
"""To list the values of an expression, combinations of options that it uses more than once are gone through: in a
second."""


class Expression(abc.ABC):
    """A number that depends on choices: a :class:`Choice`, or arithmetic on choices and integers."""

    @property
    @abc.abstractmethod
    def choices(self) -> tuple[Choice, ...]:
        """Choices that the number depends on, without repeats, in order of appearance."""

    @abc.abstractmethod
    def value(self, options: Mapping[str, Option]) -> Option:
        """Return the number under ``options``, one option per choice name."""

    def values(self) -> tuple[Option, ...]:
        """Return every number that some combination of its choices' options gives, without repeats.

        Raises:
            SpaceError: there are too many combinations to go through.
        """
        return tuple(value for (value,) in joint_values(self))

    def __mul__(self, other: Expression | int) -> Operation:
        return Operation("*", self, other)

    def __rmul__(self, other: int) -> Operation:
        return Operation("*", other, self)

    def __add__(self, other: Expression | int) -> Operation:
        return Operation("+", self, other)

    def __radd__(self, other: int) -> Operation:
        return Operation("+", other, self)

    def __sub__(self, other: Expression | int) -> Operation:
        return Operation("-", self, other)

    def __rsub__(self, other: int) -> Operation:
        return Operation("-", other, self)

    def __floordiv__(self, other: Expression | int) -> Operation:
        return Operation("//", self, other)

    def __rfloordiv__(self, other: int) -> Operation:
        return Operation("//", other, self)

    def _refuse(self, *_: object) -> NoReturn:
        raise SpaceError(
            f"{self} has no value yet, so it can be added, subtracted, multiplied and divided by // and no more: give "
            "sizes to layers of nas.supernet.elastic, and use other numbers in forward(), where an attribute that was "
            "given a choice holds the number."
        )

    __truediv__ = __rtruediv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __divmod__ = __rdivmod__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __neg__ = __abs__ = _refuse
    __int__ = __float__ = __round__ = __trunc__ = __floor__ = __ceil__ = _refuse

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
        for text in (self.name, *self.options):
            if isinstance(text, str) and not is_utf8(text):
                raise SpaceError(
                    f"choice {self.name!r} holds the text {text!r}, which UTF-8 can't: change it."
                )
        if not self.options:
            raise SpaceError(f"choice {self.name!r} has no options: give it at least one.")
        if len(self.options) > _MOST_OPTIONS:
            raise SpaceError(
                f"choice {self.name!r} has {len(self.options):,} options and at most {_MOST_OPTIONS:,} are supported: "
                "leave some out, or make two choices of it, such as tens and ones."
            )
        object.__setattr__(self, "options", tuple(_plain(option) for option in self.options))
        for option in self.options:
            if not isinstance(option, int | float | str | bool):
                raise SpaceError(
                    f"choice {self.name!r} has the option {option!r} of type {type(option).__name__}: "
                    "options are int, float, str or bool."
                )
            if isinstance(option, float) and not math.isfinite(option):
                raise SpaceError(f"choice {self.name!r} has the option {option}: options are finite numbers.")
        if len(set(self.options)) < len(self.options):
            repeated = next(o for o in self.options if self.options.count(o) > 1)
            raise SpaceError(
                f"choice {self.name!r} lists the option {repeated!r} more than once in {self.options}: "
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


Replace = Callable[[str, tuple[Option, ...]], tuple[Option, ...]]
"""Returns other options for a choice, given its name and its own options."""
_replace: ContextVar[Replace | None] = ContextVar("replace", default=None)


def choice(name: str, *options: Option) -> Choice:
    """Return a :class:`Choice`; reads well where a number would stand: ``choice("width", 16, 32)``."""
    replace = _replace.get()
    return Choice(name, options if replace is None else replace(name, options))


@contextlib.contextmanager
def replace_options(replace: Replace) -> Iterator[None]:
    """Within, :func:`choice` gives every choice the options that ``replace`` returns, in this thread."""
    token = _replace.set(replace)
    try:
        yield
    finally:
        _replace.reset(token)


@final
@dataclass(frozen=True)
class Operation(Expression):
    """``left symbol right`` on integers, where ``symbol`` is ``*``, ``+``, ``-``, ``//`` or ``min``."""

    symbol: str
    left: Expression | int
    right: Expression | int

    def __post_init__(self) -> None:
        for side in ("left", "right"):
            number = getattr(self, side)
            if isinstance(number, np.integer):
                object.__setattr__(self, side, int(number))
            elif not isinstance(number, int | Expression):
                raise SpaceError(f"{self} needs integers on both sides, got {quote(number)}.")
        _ = self.choices  # from the innermost on, so that a long sum is not gone down at once

    def __str__(self) -> str:
        return f"({self.left} {self.symbol} {self.right})"

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Choices of both sides."""
        return choices_of(self.left, self.right)

    def value(self, options: Mapping[str, Option]) -> Option:
        """Return the number under ``options``."""
        left = self.left.value(options) if isinstance(self.left, Expression) else self.left
        right = self.right.value(options) if isinstance(self.right, Expression) else self.right
        return self.apply(left, right)

    def apply(self, left: Option, right: Option) -> Option:
        """Return the number where the sides are these."""
        if not isinstance(left, int) or not isinstance(right, int):
            raise SpaceError(f"{self} needs integers on both sides, got {left!r} and {right!r}.")
        if self.symbol == "//" and right == 0:
            raise SpaceError(f"{self} divides by 0: remove that option.")
        return _OPERATORS[self.symbol](left, right)


Size = int | Expression
"""An integer, or one that depends on choices."""


def smaller(left: Size, right: Size) -> Size:
    """Return the smaller of two numbers, whatever is chosen."""
    return (
        min(left, right)
        if isinstance(left, int) and isinstance(right, int)
        else Operation("min", left, right)
    )


def choices_of(*sizes: Size) -> tuple[Choice, ...]:
    """Return the choices that any of ``sizes`` depends on, without repeats."""
    found = (c for size in sizes if isinstance(size, Expression) for c in size.choices)
    return tuple(dict.fromkeys(found))


def combinations(choices: Sequence[Choice]) -> Iterator[dict[str, Option]]:
    """Yield every combination of the options of ``choices``."""
    names = [c.name for c in choices]
    for options in itertools.product(*(c.options for c in choices)):
        yield dict(zip(names, options, strict=True))


def joint_values(*sizes: Size) -> Iterator[tuple[Option, ...]]:
    """Yield what sizes can be together, each combination once.

    Only choices that several of them use are gone through together. So the sum of many widths, of which there are more
    combinations than anything could list, takes no longer than its different values.

    Raises:
        SpaceError: there are too many combinations to go through.
    """
    different = list(dict.fromkeys((type(size), size) for size in sizes))
    places = [different.index((type(size), size)) for size in sizes]
    for values in dict.fromkeys(_joint([size for _, size in different], {})):
        yield tuple(values[place][1] for place in places)


_Typed = tuple[type, Option]
"""A value with its type, which keeps 1 and True apart."""


def _joint(sizes: Sequence[Size], given: Mapping[str, Option]) -> list[tuple[_Typed, ...]]:
    uses = Counter(c for size in sizes for c in choices_of(size) if c.name not in given)
    shared = [c for c, times in uses.items() if times > 1]
    if math.prod(len(c.options) for c in shared) > _MOST_COMBINATIONS:
        raise SpaceError(
            f"a size uses {len(shared)} choices more than once, in too many combinations to go through: write it so "
            "that each of them appears once."
        )
    found: list[tuple[_Typed, ...]] = []
    for options in combinations(shared):
        values = []
        for (
            size
        ) in sizes:  # no comprehension: a sum of hundreds is nested as deep, and each would be a call more
            values.append(_list_values(size, {**given, **options}))
        found += itertools.product(*values)
    return found


def _list_values(size: Size, given: Mapping[str, Option]) -> list[_Typed]:
    """Return the values that ``size`` can still have, without repeats."""
    if isinstance(size, Operation):
        pairs = _joint([size.left, size.right], given)
        options: Iterable[Option] = (size.apply(left, right) for (_, left), (_, right) in pairs)
    elif isinstance(size, Choice):
        options = (given[size.name],) if size.name in given else size.options
    else:
        options = (size.value(given) if isinstance(size, Expression) else size,)
    return list(dict.fromkeys((type(option), option) for option in options))


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
