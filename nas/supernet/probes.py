"""Which architectures of a space to try, so that every option is tried in few of them."""

from __future__ import annotations

import numpy as np

from nas.choices import Choice, Option
from nas.space import Architecture, IntArray, SearchSpace

MOST_NEIGHBOURS = 100
"""Architectures to try one by one, which takes a network of a hundred layers some seconds."""
_MOST_POSITIONS = 16
"""Options of a choice to try, where all choices together have too many to try each by itself."""


def list_probes(space: SearchSpace, *, sizes_fit: bool) -> list[Architecture]:
    """Return architectures that together use every option, as far as a choice has no more than 16.

    The largest, the smallest, and the largest with one choice changed; where there are more than a hundred of these,
    they change all choices at once, each to another position of its options.

    Args:
        space: Space of the architectures.
        sizes_fit: Whether sizes fit each other by construction. Then all widths are changed at once.
    """
    largest = space.largest()
    ends = [largest, space.smallest()]
    if sizes_fit:
        return [*ends, *_list_ranks(space, largest)]
    if space.num_options.sum() - len(space.choices) <= MOST_NEIGHBOURS:
        return [*ends, *(changed for changed, _ in list_neighbours(space, largest))]
    return [*ends, *_mix_extremes(space, largest)]


def list_neighbours(space: SearchSpace, architecture: Architecture) -> list[tuple[Architecture, Choice]]:
    """Return every architecture that differs in one choice, with that choice."""
    return [
        (space.architecture({**architecture, choice.name: option}), choice)
        for choice in space.choices
        for option in choice.options
        if option != architecture[choice.name]
    ]


def _mix_extremes(space: SearchSpace, largest: Architecture) -> list[Architecture]:
    """Return the largest with all choices changed that control no other, and with all changed that do."""
    rng = np.random.default_rng(0)
    controlling = _find_controlling_choices(space)
    rows: list[dict[str, Option]] = []
    for group in (False, True):
        choices = [c for c in space.choices if (c.name in controlling) == group]
        spread = {c.name: rng.permutation(_space_evenly(len(c.options))) for c in choices}
        for rank in range(max(map(len, spread.values()), default=0)):
            rows.append({c.name: c.options[np.resize(spread[c.name], rank + 1)[-1]] for c in choices})
    return [space.architecture({**largest, **row}) for row in rows]


def _list_ranks(space: SearchSpace, largest: Architecture) -> list[Architecture]:
    """Return the architecture of the first options, of the second ones and so on; depth is changed last."""
    depths = _find_controlling_choices(space)
    widths = [c for c in space.choices if c.name not in depths]
    ranks = range(max((len(c.options) for c in widths), default=0))
    rows = [{c.name: c.options[min(rank, len(c.options) - 1)] for c in widths} for rank in ranks]
    rows += [{name: option} for name in sorted(depths) for option in space[name].options]
    return [space.architecture({**largest, **row}) for row in rows]


def _find_controlling_choices(space: SearchSpace) -> set[str]:
    """Return the names of the choices that decide whether others matter."""
    return {c.choice for found in space.conditions.values() for a in found for c in a}


def _space_evenly(count: int) -> IntArray:
    """Return positions of up to so many options, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POSITIONS)).round().astype(np.int64))
