"""Whole numbers that modules keep, alone or in lists, and that may follow a width although no tensor says so.

A ``forward`` may split, view or compare by a number that its module keeps: ``x.split(self.width, 1)``,
``x.view(-1, self.channels, 7, 7)``. And a module may keep a number that equals the length of one of its tensors by
chance: a side of images that is as large as the width. Which is which shows when a network with fewer channels runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import final

from torch import nn

from nas.supernet.convert.build import lengths_of
from nas.supernet.convert.proposals import Width
from nas.supernet.cut import keeps_known_sizes, list_tensors

_MOST_WAYS = 16
"""Ways to take the numbers around one width; each is tried in a network of its own, of which most fail at once."""


@final
@dataclass(frozen=True)
class Kept:
    """An integer attribute that all modules of a class have."""

    kind: type[nn.Module]
    name: str


@final
@dataclass(frozen=True)
class _Found:
    """An attribute that holds a number, and whether it is taken to depend on the width, as a tensor's length does."""

    path: str
    kept: Kept
    follows: bool


Way = frozenset[Kept]
"""Numbers that are taken in another way than usual: they follow, or, where they equal a tensor's length, stay."""


def ways(model: nn.Module, width: Width, known: Iterable[Way]) -> list[Way]:
    """Return ways to take the numbers around a width, the likeliest first.

    Args:
        model: That it is in.
        width: The fewest channels with which the network runs.
        known: Ways that were right for other widths.
    """
    found = _numbers(model, width)
    every = frozenset(number.kept for number in found)
    following = frozenset(number.kept for number in found if not number.follows)
    single = (frozenset([number.kept]) for number in found)
    # What was right for a layer of the same kind comes first, then single numbers: one fault is likelier than two.
    likely = dict.fromkeys([*(way & every for way in known), *single, following, every, Way()])
    return list(likely)[:_MOST_WAYS]


def take_as(model: nn.Module, width: Width, way: Way) -> Width:
    """Return a width whose integer attributes are interpreted in one of these ways."""
    turned = [number for number in _numbers(model, width) if number.kept in way]
    following = tuple((number.path, number.kept.name) for number in turned if not number.follows)
    staying = tuple((number.path, number.kept.name) for number in turned if number.follows)
    return replace(width, following=following, staying=staying)


def _numbers(model: nn.Module, width: Width) -> list[_Found]:
    """Return the numbers around a width that may be some length of it.

    Those of the modules that hold its channels, where we don't know what they mean, of the modules around those, and of
    modules without tensors that stand beside them.
    """
    lengths = lengths_of(model, width.group)
    own: dict[str, set[int]] = {}
    for segment in width.group.segments:
        tensor = dict(list_tensors(model.get_submodule(segment.path))).get(segment.tensor)
        own.setdefault(segment.path, set()).update(() if tensor is None else [tensor.shape[segment.dim]])
    found = []
    for path in dict.fromkeys([*own, *_around(model, list(own))]):
        module = model.get_submodule(path)
        if keeps_known_sizes(module):
            continue
        for name, value in vars(module).items():
            items = value if type(value) in (list, tuple) else [value]
            if all(type(item) is int for item in items) and lengths.intersection(items):
                follows = value in own.get(path, ()) if type(value) is int else False
                found.append(_Found(path, Kept(type(module), name), follows))
    return found


def _around(model: nn.Module, paths: list[str]) -> Iterator[str]:
    above = dict.fromkeys(
        ".".join(names[:length])
        for names in (path.split(".") for path in paths)
        for length in range(len(names) - 1, -1, -1)
    )
    for path in above:
        yield path
        for name, child in model.get_submodule(path).named_children():
            if not any(child.children()) and not list_tensors(child):
                yield f"{path}.{name}".removeprefix(".")
