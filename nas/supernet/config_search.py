"""Which ``config`` builds a network of transformers of given sizes: guesses from the sizes that were cut, each tried.

The class is built from a config without storage, and its weights must have the names and shapes of the extracted ones.
"""

from __future__ import annotations

import copy
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, final

import torch
from torch import nn

_MOST_BUILDS = 60
"""The awkward networks of the benchmark need 30; a build of twelve layers takes a twentieth of a second."""

Place = tuple[str, int | None]
"""The name of a number in a config, and its position where the config holds several under that name."""


@final
class _Sizes:
    """Names and shapes of weights, and whole numbers that modules keep."""

    def __init__(self, module: nn.Module) -> None:
        self.shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        self.numbers = {
            (path, name): value
            for path, part in module.named_modules()
            for name, value in vars(part).items()
            if type(value) is int and not name.startswith("_")
        }
        self.lists = {
            path: [type(block) for block in part]
            for path, part in module.named_modules()
            if isinstance(part, nn.ModuleList | nn.Sequential)
        }

    def faults(self, whole: _Sizes, wanted: _Sizes) -> list[str]:
        """Return what differs from the network that is wanted, which was cut from ``whole``.

        A number that wasn't cut may be one that ``forward`` doesn't use.
        """
        names = [
            name
            for name in {*self.shapes, *wanted.shapes}
            if self.shapes.get(name) != wanted.shapes.get(name)
        ]
        for name in [n for n in names if n in self.shapes and n in wanted.shapes]:
            more = sum(a != b for a, b in zip(self.shapes[name], wanted.shapes[name], strict=False)) - 1
            names += [name] * more  # so that each dimension counts
        numbers = [
            ".".join(key)
            for key, value in wanted.numbers.items()
            if self.numbers.get(key, value) != value and whole.numbers.get(key) != value
        ]
        return sorted(names) + numbers

    def changes(self, cut: _Sizes) -> Counter[tuple[int, int]]:
        """Return the numbers that became others, and how often."""
        found: Counter[tuple[int, int]] = Counter()
        for name in self.shapes.keys() & cut.shapes.keys():
            found.update(zip(self.shapes[name], cut.shapes[name], strict=False))
        found.update(
            (self.numbers[key], cut.numbers[key]) for key in self.numbers.keys() & cut.numbers.keys()
        )
        for path, kinds in self.lists.items():
            left = sum(a is b for a, b in zip(kinds, cut.lists.get(path, []), strict=False))
            found[len(kinds), left] += len(kinds)
        return Counter({pair: count for pair, count in found.items() if 0 < pair[1] < pair[0]})


def build_described(module: Any) -> nn.Module | str:
    """Return the network that is built from a config that agrees, without storage, or why there is none."""
    whole = _build(module, {})
    if whole is None:
        return "its class can't be built from its config"
    sizes, wanted = _Sizes(whole), _Sizes(module)
    if not sizes.faults(sizes, wanted):
        return whole
    places = dict(_places(module.config))
    unlike = _unlike(sizes, wanted) if all(position is None for _, position in places) else None
    return unlike or _search_config(module, sizes, wanted, places)


def _search_config(module: Any, whole: _Sizes, wanted: _Sizes, places: dict[Place, int]) -> nn.Module | str:
    """Change one number at a time, as long as fewer sizes differ; all likely ones at once to begin with."""
    changes = whole.changes(wanted)
    options = {place: _options(value, changes) for place, value in places.items()}
    likely = {place: found[0] for place, (found, _) in options.items() if found}
    trials = [
        {place: value}
        for rank in (0, 1)  # sizes that were seen come before those in proportion
        for place, value in places.items()
        for value in ([value] if rank and place in likely else []) + options[place][rank]
    ]
    best: dict[Place, int] = {}
    faults = whole.faults(whole, wanted)
    builds, improved = 0, True
    while improved:
        improved = False
        for trial in [likely, *trials]:
            values = {**best, **trial}
            if values == best or builds == _MOST_BUILDS:
                continue
            builds += 1
            built = _build(module, values)
            found = faults if built is None else _Sizes(built).faults(whole, wanted)
            if built is not None and not found:
                return _fewest(module, whole, wanted, values, built)
            if len(found) < len(faults):
                best, faults, improved = values, found, True
    return f"no config of its class gives the sizes that are left (of {faults[0]!r}, for example)"


def _fewest(
    module: Any, whole: _Sizes, wanted: _Sizes, values: dict[Place, int], built: nn.Module
) -> nn.Module:
    """Return the network of the config in which every number is left as it was that needn't change."""
    for place in list(values):
        fewer = {other: value for other, value in values.items() if other != place}
        simpler = _build(module, fewer)
        if simpler is not None and not _Sizes(simpler).faults(whole, wanted):
            values, built = fewer, simpler
    return built


def _options(value: int, changes: Counter[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Return what a number may be now: what its equals became, and what is in proportion; likely ones first."""
    ordered = [pair for pair, _ in changes.most_common()]
    seen = [new for old, new in ordered if old == value]
    scaled = [value * new // old for old, new in ordered if value * new % old == 0]
    return list(dict.fromkeys(seen)), [other for other in dict.fromkeys(scaled) if other not in seen]


def _places(config: Any, prefix: str = "") -> Iterator[tuple[Place, int]]:
    for name, value in vars(config).items():
        if type(value) is int and value > 1 and not name.startswith("_") and not name.endswith("_id"):
            yield (prefix + name, None), value
        if isinstance(value, list | tuple):
            for position, item in enumerate(value):
                if type(item) is int and item > 1:
                    yield (prefix + name, position), item
        if isinstance(
            value, sys.modules["transformers"].PreTrainedConfig
        ):  # that of a part, such as a text's encoder
            yield from _places(value, f"{prefix}{name}.")


def _build(module: Any, values: dict[Place, int]) -> nn.Module | None:
    """Return the module's class built from its config with other numbers, without storage; None if it refuses."""
    config = copy.deepcopy(module.config)
    try:
        for (name, position), value in values.items():
            _put(config, name, position, value)
        type(config).from_dict(config.to_dict())  # as reading it will check it
        with torch.device("meta"):
            built: nn.Module = type(module)(config)
    except Exception:  # whatever the constructor says of numbers that don't go together
        return None
    return built


def _put(config: Any, path: str, position: int | None, value: int) -> None:
    *parts, name = path.split(".")
    for part in parts:
        config = getattr(config, part)
    old = getattr(config, name)
    if position is not None:
        setattr(config, name, type(old)([*old[:position], value, *old[position + 1 :]]))
        return
    setattr(config, name, value)
    kinds = vars(config).get("layer_types")  # the library's word for a list with one item for each layer
    if isinstance(kinds, list) and len(kinds) == old and config.num_hidden_layers == value:
        config.layer_types = kinds[:value]


def _unlike(whole: _Sizes, wanted: _Sizes) -> str | None:
    """Return which layers that were alike no longer are, in words."""
    known: dict[tuple[str, Sequence[int]], str] = {}
    for name, shape in wanted.shapes.items():
        alike = (re.sub(r"(?<=\.)\d+(?=\.)", "*", name), whole.shapes.get(name, ()))
        first = known.setdefault(alike, name)
        if wanted.shapes[first] != shape:
            return (
                "a config holds one number for all layers, and here "
                f"{first!r} is {_times(wanted.shapes[first])} and {name!r} is {_times(shape)}"
            )
    return None


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
