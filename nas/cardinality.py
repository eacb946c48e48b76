"""How many different architectures a space has."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

Condition = tuple[int, frozenset[int]]
"""A choice, and its options under which the condition holds, each as a position."""
Alternatives = frozenset[frozenset[Condition]]
"""Each a conjunction of the conditions that are not decided yet."""

_ALWAYS: Alternatives = frozenset({frozenset()})


def num_architectures(num_options: Sequence[int], conditions: Mapping[int, Alternatives]) -> int:
    """Return the exact number of different architectures, by recursive conditioning (Darwiche 2001).

    A choice that controls others is fixed to one option after the other. The conditions that this decides are
    dropped, and what remains falls into groups that no condition links: their counts are multiplied. A group's
    count is remembered, because the same one remains in many ways.

    Args:
        num_options: By choice.
        conditions: By choice that doesn't always matter, the alternatives under which it does; no cycles.
    """

    @functools.cache
    def count(group: frozenset[tuple[int, Alternatives]]) -> int:
        controlled = Counter(about for _, alternatives in group for about in _controllers(alternatives))
        certain = [choice for choice, alternatives in group if alternatives == _ALWAYS]
        # The choice that controls most, so that what remains falls apart soonest; the order of columns breaks ties, so
        # that the count of a space always takes the same way.
        fixed = max(certain, key=lambda choice: (controlled[choice], -choice))
        if not controlled[fixed]:  # alone in its group
            return num_options[fixed]
        others = {choice: alternatives for choice, alternatives in group if choice != fixed}
        rests = Counter(
            _group_linked({choice: _under(fixed, option, a) for choice, a in others.items()})
            for option in range(num_options[fixed])
        )
        return sum(times * math.prod(map(count, groups)) for groups, times in rests.items())

    whole = {choice: conditions.get(choice, _ALWAYS) for choice in range(len(num_options))}
    return math.prod(map(count, _group_linked(whole)))


def _controllers(alternatives: Alternatives) -> set[int]:
    return {about for alternative in alternatives for about, _ in alternative}


def _under(fixed: int, option: int, alternatives: Alternatives) -> Alternatives:
    """Return the alternatives that are left when a choice that matters has this option."""
    return frozenset(
        frozenset(condition for condition in alternative if condition[0] != fixed)
        for alternative in alternatives
        if all(about != fixed or option in options for about, options in alternative)
    )


def _group_linked(undecided: dict[int, Alternatives]) -> frozenset[frozenset[tuple[int, Alternatives]]]:
    """Return the choices that can still matter, together with those that a condition links them to."""
    while never := {choice for choice, alternatives in undecided.items() if not alternatives}:
        undecided = {
            choice: frozenset(a for a in alternatives if not any(about in never for about, _ in a))
            for choice, alternatives in undecided.items()
            if choice not in never
        }
    undecided = {c: _ALWAYS if frozenset() in a else a for c, a in undecided.items()}
    linked: dict[int, set[int]] = {choice: {choice} for choice in undecided}
    for choice, alternatives in undecided.items():
        for about in _controllers(alternatives):
            linked[choice].add(about)
            linked[about].add(choice)
    groups = set()
    while linked:
        group, reached = set(), {next(iter(linked))}
        while reached:
            choice = reached.pop()
            group.add((choice, undecided[choice]))
            reached |= linked.pop(choice) & linked.keys()
        groups.add(frozenset(group))
    return frozenset(groups)
