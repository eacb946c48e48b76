"""Search spaces as plain values: conditions between choices, and architectures.

Nothing here knows about torch. A space is usually found by :class:`nas.Supernet` in a module; it can
also be written down by hand.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nas.cardinality import num_architectures
from nas.choices import Choice, Option
from nas.errors import SpaceError
from nas.typed import MismatchError, read_as

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


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
        names = Counter(c.name for c in self.choices)
        repeated = [name for name, times in names.items() if times > 1]
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
        try:
            return self.choices[self._column[name]]
        except KeyError:
            raise SpaceError(
                f"the space has no choice {name!r}: it has {[c.name for c in self.choices]}."
            ) from None

    @cached_property
    def _column(self) -> dict[str, int]:
        return {c.name: column for column, c in enumerate(self.choices)}

    @cached_property
    def _controllers(self) -> dict[str, tuple[str, ...]]:
        """The choices that control each conditional choice."""
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
    def _allowed(self) -> dict[str, list[list[tuple[int, NDArray[np.bool_]]]]]:
        """Conditions as (column, whether each option is allowed), for arrays."""
        return {
            name: [
                [
                    (
                        self._column[c.choice],
                        np.isin(
                            np.arange(len(self[c.choice].options)),
                            [self[c.choice].index(o) for o in c.options],
                        ),
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
        # In this order a choice's controllers are decided before it.
        for name in self._order:
            holds = np.zeros(len(indices), dtype=np.bool_)
            for alternative in self._allowed[name]:
                both = np.ones(len(indices), dtype=np.bool_)
                for column, allowed in alternative:
                    both &= active[:, column] & allowed[indices[:, column]]
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

    @cached_property
    def num_combinations(self) -> int:
        """Number of combinations of options, those that stand for one architecture counted each."""
        return math.prod(self.num_options.tolist())

    def combinations(self, numbers: IntArray) -> IntArray:
        """Return the combinations of these numbers, ``(n,)`` to ``(n, num_choices)`` positions, not canonical.

        Counted as in a table in C order: the last choice changes fastest.
        """
        return np.asarray(numbers[:, None] // self._strides % self.num_options, dtype=np.int64)

    def combination_numbers(self, indices: IntArray) -> NDArray[Any]:
        """Undo :meth:`combinations`: ``(n,)`` int64, or Python's integers where a space has too many for these."""
        numbers: NDArray[Any] = indices.astype(self._strides.dtype) @ self._strides
        return numbers

    @cached_property
    def _strides(self) -> NDArray[Any]:
        sizes = self.num_options.tolist()
        strides = [math.prod(sizes[column + 1 :]) for column in range(len(sizes))]
        # Python's own integers are slow, but exact where int64 would wrap around.
        return np.array(strides, dtype=np.int64 if self.num_combinations < 2**63 else object)

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
        """Return the exact number of different architectures."""
        conditions = {
            self._column[name]: frozenset(
                frozenset(
                    (column, frozenset(np.flatnonzero(allowed).tolist())) for column, allowed in alternative
                )
                for alternative in alternatives
            )
            for name, alternatives in self._allowed.items()
        }
        return num_architectures(self.num_options.tolist(), conditions)

    def describe(self) -> dict[str, object]:
        """Return the space as plain JSON values, to compare and to store."""
        return {
            "choices": {c.name: list(c.options) for c in self.choices},
            "conditions": {
                name: [[[c.choice, list(c.options)] for c in alternative] for alternative in alternatives]
                for name, alternatives in self.conditions.items()
            },
        }


_Allowed = tuple[str, tuple[Option, ...]]


@final
@dataclass(frozen=True)
class _Description:
    """What :meth:`SearchSpace.describe` gives."""

    choices: Mapping[str, tuple[Option, ...]]
    conditions: Mapping[str, tuple[tuple[_Allowed, ...], ...]]


def space_from_description(description: Mapping[str, Any]) -> SearchSpace:
    """Undo :meth:`SearchSpace.describe`.

    Raises:
        SpaceError: it describes no space.
    """
    try:
        found = read_as(_Description, description)
    except MismatchError as error:
        raise SpaceError(f"a search space with choices and conditions is expected: {error}.") from error
    choices = tuple(Choice(name, options) for name, options in found.choices.items())
    conditions = {
        name: tuple(
            tuple(Condition(about, options) for about, options in alternative) for alternative in alternatives
        )
        for name, alternatives in found.conditions.items()
    }
    return SearchSpace(choices, conditions)
