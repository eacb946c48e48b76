"""Search spaces as plain values: choices, conditions between them, and architectures.

Nothing here knows about torch. A space is usually found by :class:`nas.Supernet` in a module; it can
also be written down by hand.
"""

from __future__ import annotations

import abc
import hashlib
import itertools
import json
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nas.errors import SpaceError

Option = int | float | str | bool
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

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
        options: What can be chosen, from small to large by convention. Numbers, strings or booleans.

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
        plain = tuple(option.item() if isinstance(option, np.generic) else option for option in self.options)
        object.__setattr__(self, "options", plain)
        for option in self.options:
            if not isinstance(option, int | float | str | bool):
                raise SpaceError(
                    f"choice {self.name!r} has the option {option!r} of type {type(option).__name__}: "
                    "options are int, float, str or bool."
                )
            if isinstance(option, float) and not math.isfinite(option):
                raise SpaceError(f"choice {self.name!r} has the option {option}: options are finite numbers.")
        repeated = [a for a, b in itertools.combinations(self.options, 2) if _same(a, b) or a == b]
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
            raise SpaceError(
                f"choice {self.name!r} has no option {option!r}: its options are {self.options}."
            ) from None

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


@final
@dataclass(frozen=True)
class Condition:
    """Holds when ``choice`` is active and set to one of ``options``."""

    choice: str
    options: tuple[Option, ...]


@final
class Architecture(Mapping[str, Option]):
    """One option per choice, canonical: inactive choices are set to their first option.

    Made by a :class:`SearchSpace`; immutable and hashable. Two networks that compute the same have
    the same ``id``.
    """

    __slots__ = ("_options", "id")

    def __init__(self, options: Mapping[str, Option]) -> None:
        self._options = dict(options)
        text = json.dumps(self._options, sort_keys=True)
        self.id = hashlib.sha256(text.encode()).hexdigest()[:16]

    def __getitem__(self, name: str) -> Option:
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self.id == other.id

    def __repr__(self) -> str:
        return f"Architecture({self.id}, {self._options})"


@final
@dataclass(frozen=True)
class SearchSpace:
    """All architectures that may be found.

    Args:
        choices: In a fixed order, which is the column order of every index array.
        conditions: By choice name, the alternatives under which the choice matters; each alternative
            is a conjunction of conditions. A choice without an entry always matters.

    Raises:
        SpaceError: two choices of one name, a condition on an unknown choice or option, or a cycle.
    """

    choices: tuple[Choice, ...]
    conditions: Mapping[str, tuple[tuple[Condition, ...], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [c.name for c in self.choices]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise SpaceError(f"choice {min(repeated)!r} is in the space twice: names must be unique.")
        for name, alternatives in self.conditions.items():
            for condition in itertools.chain(*alternatives):
                if name not in names or condition.choice not in names:
                    raise SpaceError(f"the condition {condition} of {name!r} is about an unknown choice.")
                for option in condition.options:
                    self[condition.choice].index(option)
        _ = self._order  # finds cycles

    def __getitem__(self, name: str) -> Choice:
        for known in self.choices:
            if known.name == name:
                return known
        raise SpaceError(f"the space has no choice {name!r}: it has {[c.name for c in self.choices]}.")

    @cached_property
    def _column(self) -> dict[str, int]:
        return {c.name: column for column, c in enumerate(self.choices)}

    @cached_property
    def _controllers(self) -> dict[str, tuple[str, ...]]:
        """By conditional choice, the choices its conditions are about."""
        return {
            name: tuple(dict.fromkeys(c.choice for c in itertools.chain(*alternatives)))
            for name, alternatives in self.conditions.items()
        }

    @cached_property
    def _order(self) -> list[str]:
        """Conditional choices, each after the choices that control it."""
        order: list[str] = []
        waiting = dict(self._controllers)
        while waiting:
            ready = [n for n, controllers in waiting.items() if not any(c in waiting for c in controllers)]
            if not ready:
                raise SpaceError(f"the conditions of {sorted(waiting)} depend on each other in a cycle.")
            order += ready
            for name in ready:
                del waiting[name]
        return order

    @cached_property
    def _allowed(self) -> dict[str, list[list[tuple[int, IntArray]]]]:
        """Conditions as (column, allowed option positions), for arrays."""
        return {
            name: [
                [
                    (
                        self._column[c.choice],
                        np.array([self[c.choice].index(o) for o in c.options], dtype=np.int64),
                    )
                    for c in alternative
                ]
                for alternative in alternatives
            ]
            for name, alternatives in self.conditions.items()
        }

    def active(self, indices: IntArray) -> NDArray[np.bool_]:
        """Return which choices matter.

        Args:
            indices: ``(n, num_choices)`` option positions.

        Returns:
            ``(n, num_choices)`` bool.
        """
        active = np.ones(indices.shape, dtype=np.bool_)
        for name in self._order:
            holds = np.zeros(len(indices), dtype=np.bool_)
            for alternative in self._allowed[name]:
                both = np.ones(len(indices), dtype=np.bool_)
                for column, allowed in alternative:
                    both &= active[:, column] & np.isin(indices[:, column], allowed)
                holds |= both
            active[:, self._column[name]] = holds
        return active

    def canonical(self, indices: IntArray) -> IntArray:
        """Return ``(n, num_choices)`` positions with every inactive choice set to its first option."""
        return np.where(self.active(indices), indices, 0)

    def architecture(self, options: Mapping[str, Option]) -> Architecture:
        """Return the canonical architecture with these options, one for every choice.

        Raises:
            SpaceError: an unknown choice, a missing one, or an unknown option.
        """
        unknown = [name for name in options if name not in self._column]
        missing = [c.name for c in self.choices if c.name not in options]
        if unknown:
            raise SpaceError(
                f"an architecture sets {unknown[0]!r}, which is no choice of this space: "
                f"its choices are {list(self._column)}."
            )
        if missing:
            raise SpaceError(f"an architecture must set every choice: {missing} are missing.")
        row = [c.index(options[c.name]) for c in self.choices]
        return self.from_indices(np.array([row], dtype=np.int64))[0]

    def from_indices(self, indices: IntArray) -> list[Architecture]:
        """Return the canonical architecture of each row of ``(n, num_choices)`` option positions."""
        return [
            Architecture(
                {c.name: c.options[int(position)] for c, position in zip(self.choices, row, strict=True)}
            )
            for row in self.canonical(indices)
        ]

    def indices(self, architectures: Iterable[Mapping[str, Option]]) -> IntArray:
        """Return the option positions of each architecture, ``(n, num_choices)`` int64."""
        rows = [[c.index(a[c.name]) for c in self.choices] for a in architectures]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self.choices))

    @cached_property
    def num_options(self) -> IntArray:
        """Number of options of each choice, ``(num_choices,)`` int64."""
        return np.array([len(c.options) for c in self.choices], dtype=np.int64)

    def sample_indices(self, count: int, rng: np.random.Generator) -> IntArray:
        """Return ``(count, num_choices)`` canonical positions; each option is equally likely."""
        return self.canonical(rng.integers(0, self.num_options, size=(count, len(self.choices))))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Return a random architecture: each choice's options are equally likely."""
        return self.from_indices(self.sample_indices(1, rng))[0]

    def smallest(self) -> Architecture:
        """Return the architecture of the smallest option of every choice."""
        return self.architecture({c.name: c.options[c.smallest_index] for c in self.choices})

    def largest(self) -> Architecture:
        """Return the architecture of the largest option of every choice."""
        return self.architecture({c.name: c.options[c.largest_index] for c in self.choices})

    def encode(self, indices: IntArray) -> FloatArray:
        """Return one-hot encodings for surrogates; an inactive choice is all zeros.

        Args:
            indices: ``(n, num_choices)`` option positions.

        Returns:
            ``(n, num_options.sum())`` float64.
        """
        active = self.active(indices)
        columns = [
            (indices[:, [j]] == np.arange(count)) & active[:, [j]] for j, count in enumerate(self.num_options)
        ]
        return np.concatenate(columns, axis=1).astype(np.float64)

    def cardinality(self) -> int:
        """Return the exact number of different architectures.

        Choices that no condition links are independent, so the count is a product over linked
        groups. Inside a group the choices that control others are enumerated, the others multiplied.
        """
        return math.prod(self._count(group) for group in self._linked_groups())

    def _linked_groups(self) -> list[list[str]]:
        group_of = {c.name: [c.name] for c in self.choices}
        for name, controllers in self._controllers.items():
            for controller in controllers:
                if group_of[name] is not group_of[controller]:
                    group_of[name].extend(group_of[controller])
                    for member in group_of[controller]:
                        group_of[member] = group_of[name]
        return list({id(group): group for group in group_of.values()}.values())

    def _count(self, group: list[str]) -> int:
        controlling = {c for name in group for c in self._controllers.get(name, ())}
        free = [name for name in group if name not in self.conditions and name not in controlling]
        order = [n for n in group if n in controlling and n not in self.conditions]
        order += [n for n in self._order if n in group and n in controlling]
        leaves = [n for n in self._order if n in group and n not in controlling]

        def matters(name: str, chosen: Mapping[str, Option | None]) -> bool:
            """``chosen`` holds None for an inactive choice."""
            if name not in self.conditions:
                return True
            return any(
                all(_in(chosen[c.choice], c.options) for c in alternative)
                for alternative in self.conditions[name]
            )

        def count(position: int, chosen: dict[str, Option | None]) -> int:
            if position == len(order):
                return math.prod(len(self[n].options) for n in leaves if matters(n, chosen))
            name = order[position]
            options: Sequence[Option | None] = self[name].options if matters(name, chosen) else (None,)
            return sum(count(position + 1, {**chosen, name: option}) for option in options)

        return math.prod(len(self[n].options) for n in free) * count(0, {})

    def describe(self) -> dict[str, object]:
        """Return the space as plain JSON values, to compare and to store."""
        return {
            "choices": {c.name: list(c.options) for c in self.choices},
            "conditions": {
                name: [[[c.choice, list(c.options)] for c in alternative] for alternative in alternatives]
                for name, alternatives in self.conditions.items()
            },
        }


def space_from_description(description: Mapping[str, Any]) -> SearchSpace:
    """Undo :meth:`SearchSpace.describe`."""
    choices = tuple(Choice(name, tuple(options)) for name, options in description["choices"].items())
    conditions = {
        name: tuple(
            tuple(Condition(about, tuple(options)) for about, options in alternative)
            for alternative in alternatives
        )
        for name, alternatives in description["conditions"].items()
    }
    return SearchSpace(choices, conditions)


def _same(a: Option, b: Option) -> bool:
    """Equality that keeps 1, 1.0 and True apart."""
    return type(a) is type(b) and a == b


def _in(option: Option | None, options: Sequence[Option]) -> bool:
    return option is not None and any(_same(option, known) for known in options)
