"""Guesses where the heads of attention lie in its layers, from the layers' sizes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn

from nas.choices import Choice
from nas.supernet.convert.cores import Core, is_matrix
from nas.supernet.convert.dependencies import ChannelGroup, Segment
from nas.supernet.convert.proposals import Number, SplitHeads
from nas.supernet.cut import Place, axis_name, channel_dims, list_tensors

_COUNTS = ("h", "nh")
"""Names of a number of heads beside those with ``head`` in them."""
_TOGETHER = ("head", "attn", "inner", "qkv")
"""Words in the names of numbers that say how large all heads are; other numbers only follow where they must."""
_Spans = tuple[tuple[int, int], ...]
"""Where each part of an axis that holds all heads begins, and how many positions a head has in it."""
_Places = dict[Place, _Spans]


@final
class Attention:
    """Cores that share their heads.

    Args:
        model: Network that they are in.
        cores: The cores, one for each softmax.
        times: How often each module of the model is called.
    """

    def __init__(self, model: nn.Module, cores: tuple[Core, ...], times: dict[str, int]) -> None:
        self.model, self.cores, self.times = model, cores, times
        self.producers = tuple(dict.fromkeys(path for core in cores for path in core.producers))
        self.consumers = tuple(dict.fromkeys(path for core in cores for path in core.consumers))
        self.between = tuple(dict.fromkeys(named for core in cores for named in core.between))
        self.paths = (*self.producers, *self.consumers, *(path for path, _ in self.between))
        self.holders = tuple(dict.fromkeys(self._holder(core) for core in cores))
        self.around = self._find_called(_common(self.paths))
        self.surroundings = tuple(self._surroundings())
        self.most = self._most()

    @property
    def key(self) -> Any:
        """A key that is equal for attention for which the same guess is right."""
        modules = [self.model.get_submodule(path) for path in (self.around, *self.holders, *self.paths)]
        shapes = [tuple(p.shape) for module in modules[1:] for p in module.parameters(recurse=False)]
        inside = [path.removeprefix(self.around) for path in self.paths]
        return (*map(type, modules), *inside, *shapes, len(self.cores), self.most)

    @property
    def kind(self) -> tuple[Any, ...]:
        """A key that is equal for attention that may only differ in where it is."""
        return (*(type(self.model.get_submodule(holder)) for holder in self.holders), self.most)

    def length(self, place: Place) -> int:
        """Return how long a dimension of a tensor is."""
        tensor: Tensor = getattr(self.model.get_submodule(place.path), place.name)
        return tensor.shape[place.dim]

    def output_place(self, path: str) -> Place:
        """Return where the output of a layer lies in its weight."""
        return Place(path, "weight", matrix_dims(self.model.get_submodule(path))[0])

    def input_place(self, path: str) -> Place:
        """Return where the input of a layer lies in its weight."""
        return Place(path, "weight", matrix_dims(self.model.get_submodule(path))[1])

    def _holder(self, core: Core) -> str:
        """Return the innermost module that holds the layers around a softmax and, if any does, says how many heads."""
        sizes = [(self.length(self.output_place(path)), path) for path in core.producers]
        large = [path for size, path in sizes if len(core.shape) < 4 or size > core.shape[-3]]
        holder = _common([path.rpartition(".")[0] for path in large or core.producers])
        while holder and not (
            self.times.get(holder)
            and (any(True for _ in self._numbers(holder)) or _under(core.consumers[0], holder))
        ):
            holder = holder.rpartition(".")[0]
        return holder

    def _numbers(self, holder: str) -> Iterator[tuple[str, int]]:
        for name, value in vars(self.model.get_submodule(holder)).items():
            if type(value) is int and value > 0 and names_heads(name):
                yield name, value

    def _find_called(self, path: str) -> str:
        while path and (not self.times.get(path) or not any(self.model.get_submodule(path).children())):
            path = path.rpartition(".")[0]
        return path

    def _surroundings(self) -> Iterator[str]:
        """Yield the smallest called module that holds all cores, and the called modules around it."""
        yield (path := self.around)
        while path:
            yield (path := self._find_called(path.rpartition(".")[0]))

    def _most(self) -> int:
        """Return how many heads the queries have."""
        shape = self.cores[0].shape
        if len(shape) >= 4:
            return shape[-3]
        said = [value for _, value in self._numbers(self.holders[0]) if shape[0] % value == 0]
        return max(said, default=1)


def guesses(attention: Attention, options: Callable[[int], tuple[int, ...]]) -> Iterator[SplitHeads]:
    """Yield guesses at what depends on the number of heads, the likeliest first."""
    holders, most = attention.holders, attention.most
    # Where several heads of queries share a key and a value, fewer heads than queries have can be chosen.
    for heads in (count for count in range(most, 1, -1) if most % count == 0):
        choice = Choice(f"{holders[0]}.heads" if holders[0] else "heads", options(heads))
        for places in _layouts(attention, heads):
            group = ChannelGroup(holders[0], heads, _segments(attention, places))
            channels = attention.length(attention.input_place(attention.producers[0]))
            size = places[attention.input_place(attention.consumers[0])][0][1]
            for narrowed, numbers in _numbers(attention, heads, places):
                yield SplitHeads(choice, holders, group, numbers, (channels, size) if narrowed else None)


def _segments(attention: Attention, places: _Places) -> tuple[Segment, ...]:
    return tuple(
        Segment(path, axis_name(attention.model.get_submodule(path), name, dim), name, dim, start, repeat)
        for (path, name, dim), parts in places.items()
        for start, repeat in parts
    )


def _layouts(attention: Attention, heads: int) -> Iterator[_Places]:
    """Yield possible places of the heads; none if the length of some axis is no multiple of their number."""
    made = {path: attention.length(attention.output_place(path)) for path in attention.producers}
    taken = {
        attention.input_place(path): attention.length(attention.input_place(path))
        for path in attention.consumers
    }
    if any(length % heads for length in (*made.values(), *taken.values())):
        return
    places: _Places = {place: ((0, length // heads),) for place, length in taken.items()}
    small: dict[str, _Spans] = {path: ((0, 1),) for path, length in made.items() if length == heads}
    for large in _find_fused(attention, heads, {k: v for k, v in made.items() if v != heads}):
        rows = dict(small)
        rows.update(large)
        whole = places | {place: parts for path, parts in rows.items() for place in _rows(attention, path)}
        betweens = [_find_places_between(attention, heads, whole, *small) for small in _SMALL]
        yield from (whole | between for n, between in enumerate(betweens) if between not in betweens[:n])


def _rows(attention: Attention, path: str) -> Iterator[Place]:
    """Yield where the output of a layer lies."""
    yield attention.output_place(path)
    if attention.model.get_submodule(path)._parameters.get("bias") is not None:
        yield Place(path, "bias", 0)


def _find_fused(attention: Attention, heads: int, lengths: dict[str, int]) -> Iterator[dict[str, _Spans]]:
    """Yield the spans of heads in projections; queries, keys and values may be rows of one, two or three layers."""
    count = max((sum(path in lengths for path in core.producers) for core in attention.cores), default=0)
    # How many of queries, keys and values each layer makes, the usual first; 0: queries that share keys and values.
    known: dict[int, list[tuple[int, ...]]] = {1: [(3,), (0,), (1,), (2,)], 2: [(1, 2), (2, 1), (1, 1)]}
    kinds = known.get(count, [(1,) * count])
    for kind in kinds:
        found: dict[str, _Spans] = {}
        for core in attention.cores:
            for path, parts in zip([p for p in core.producers if p in lengths], kind, strict=False):
                found[path] = _find_spans(lengths[path], heads, parts, attention.most)
        if all(found.values()):
            yield found


def _find_spans(length: int, heads: int, parts: int, queries: int) -> _Spans:
    """Return ``parts`` equal spans, or with 0 those of grouped queries, keys and values; () if they don't fit."""
    if parts:
        repeat = length // heads // parts
        even = length == heads * parts * repeat
        return tuple((part * length // parts, repeat) for part in range(parts)) if even else ()
    size, rest = divmod(length, queries + 2 * heads)
    if rest or queries == heads:
        return ()
    return (0, size * queries // heads), (size * queries, size), (size * (queries + heads), size)


_SMALL = ((True, True), (True, False), (False, False))
"""Whether parameters, and whether buffers, with as many positions as there are heads have one for each."""


def _find_places_between(
    attention: Attention, heads: int, places: _Places, parameters: bool, buffers: bool
) -> _Places:
    """Return where the heads lie in norms, biases and scales, and in layers that mix them."""
    small: dict[int, _Spans] = {heads: ((0, 1),)}
    lengths = {attention.length(place): parts for place, parts in reversed(places.items())}
    large = {length: parts for length, parts in lengths.items() if length != heads}
    found: _Places = {}
    ends = {*attention.producers, *attention.consumers}
    for path in dict.fromkeys((*(path for path, _ in attention.between), *attention.holders)):
        if path in ends:
            continue  # a bias that is added by itself: where the heads lie there is known
        module = attention.model.get_submodule(path)
        for name, tensor in list_tensors(module):
            known = small | large if (parameters if name in module._parameters else buffers) else large
            dims = [dim for dim in channel_dims(module, tensor) if tensor.shape[dim] in known]
            # One axis is that of heads, but where a layer mixes heads both are.
            for dim in dims if is_matrix(module) else dims[:1]:
                found[Place(path, name, dim)] = known[tensor.shape[dim]]
    return {place: parts for place, parts in found.items() if place not in places}


def _numbers(attention: Attention, heads: int, places: _Places) -> Iterator[tuple[bool, tuple[Number, ...]]]:
    """Yield whether the input must look narrower, and the integer attributes that depend on the heads."""
    sizes = {repeat for parts in places.values() for _, repeat in parts}
    sizes |= {sum(repeat for _, repeat in parts) for parts in places.values()}
    counts: list[Number] = []
    together: list[Number] = []
    others: list[Number] = []
    for path, module in _inside(attention):
        for name, value in vars(module).items():
            if type(value) is not int or value <= 0 or value % heads:
                continue
            number = Number(path, name, value // heads)
            if names_heads(name) and value in (heads, attention.most):
                counts.append(number)
            elif number.repeat in sizes and number.repeat > 1:
                (together if any(word in name for word in _TOGETHER) else others).append(number)
    names = dict.fromkeys(number.attribute for number in others)
    single = [[number for number in others if number.attribute == name] for name in names]
    for narrowed in (False, True):
        for more in ([], *single, *([others] if len(single) > 1 else [])):
            yield narrowed, (*counts, *together, *more)
        if together:
            yield narrowed, tuple(counts)


def _inside(attention: Attention) -> list[tuple[str, nn.Module]]:
    """Return the modules of an attention that may count its heads; layers follow their tensors by themselves."""
    found = {
        f"{holder}.{path}".strip("."): module
        for holder in attention.holders
        for path, module in attention.model.get_submodule(holder).named_modules()
    }
    return [(path, m) for path, m in found.items() if path in attention.holders or not list_tensors(m)]


def names_heads(name: str) -> bool:
    """Whether an attribute's name is that of a number of heads."""
    return ("head" in name and "dim" not in name and "size" not in name) or name in _COUNTS


def matrix_dims(module: nn.Module) -> tuple[int, int]:
    """Return the dimensions of a weight that are output and input; ``Conv1D`` of transformers has them swapped."""
    return (1, 0) if type(module).__name__ == "Conv1D" else (0, 1)


def _common(paths: list[str] | tuple[str, ...]) -> str:
    """Return the path that all paths are in or below."""
    names = [path.split(".") if path else [] for path in paths]
    same = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*names, strict=False))
    return ".".join(level[0] for level in same)


def _under(path: str, holder: str) -> bool:
    return not holder or path == holder or path.startswith(f"{holder}.")
