"""Elastic modules made from modules that exist, whatever their class, with their weights.

A module becomes elastic in place: its class is replaced by one that is derived from it, in which reading a parameter
or a buffer gives its active part. Its ``forward`` stays as it was written. With one span per axis the active part is
a view; with several, behind a concatenation, it is gathered anew, which is the one place where switching isn't free.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast, final

import torch
from torch import Tensor, nn

from nas.choices import Expression, Size, choices_of
from nas.supernet.cut.kernels import CROPPED
from nas.supernet.cut.places import list_tensors
from nas.supernet.cut.sizes import shape_of, sizes_of
from nas.supernet.cut.spans import Axis, Span, total


@final
class _Slot(NamedTuple):
    """A span of an axis: where it starts, which attribute holds its active size, and whether that is the middle's."""

    start: int
    size: str
    centred: bool


_Slots = tuple[_Slot, ...]


class Cut(nn.Module):
    """Mixed into a module's own class; made by :func:`cut_in_place`."""

    _plain: type[nn.Module]
    _cuts: dict[str, tuple[tuple[int, _Slots], ...]]
    """The dimensions of each tensor that are cut, each with its spans."""
    _sizes: dict[str, Size]
    """The size of a span, as an expression, by the attribute that holds it."""
    _shape: tuple[str, ...]
    """Attributes that hold the shape over which a norm normalises."""
    _own: frozenset[str]
    """Attributes that the plain module doesn't have."""
    _computed: tuple[str, ...]
    """Attributes of the plain module that the class computes from active sizes."""
    _gathered: dict[str, Tensor] | None
    """Buffers of several spans that a forward pass may change."""

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        cuts = self.__dict__["_cuts"].get(name)
        if cuts is None or found is None:
            return found
        known = self.__dict__["_gathered"]
        if known is not None and name in known:
            return known[name]
        active = self._active(cast(Tensor, found), cuts)
        if known is not None and name in self._buffers and self._is_gathered(name):
            known[name] = active
        return active

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Run the module; statistics that were gathered are written back to where they came from."""
        # A buffer of several spans is put together in a copy, so what batch norm writes there must go back.
        if not (self.training and any(map(self._is_gathered, self._buffers))):
            return super().__call__(*inputs, **named)
        self.__dict__["_gathered"] = {}
        try:
            output = super().__call__(*inputs, **named)
            for name, value in cast(dict[str, Tensor], self._gathered).items():
                self._store(name, value)
            return output
        finally:
            self.__dict__["_gathered"] = None

    def _is_gathered(self, name: str) -> bool:
        return any(len(slots) > 1 for _, slots in self._cuts.get(name, ()))

    def _active(self, tensor: Tensor, cuts: tuple[tuple[int, _Slots], ...]) -> Tensor:
        sizes = self.__dict__
        for dim, slots in cuts:
            pieces = [
                tensor.narrow(dim, (tensor.shape[dim] - sizes[size]) // 2 if centred else start, sizes[size])
                for start, size, centred in slots
            ]
            tensor = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim)
        return tensor

    @torch.no_grad()
    def _store(self, name: str, gathered: Tensor) -> None:
        ((dim, slots),) = self._cuts[name]  # statistics run along the channels alone
        begin = 0
        for start, attribute, _ in slots:
            size = self.__dict__[attribute]
            cast(Tensor, self._buffers[name]).narrow(dim, start, size).copy_(
                gathered.narrow(dim, begin, size)
            )
            begin += size

    def active_tensors(self) -> dict[int, Tensor]:
        """Return copies of the active parts of the module's own tensors, by the id of the whole ones."""
        copies: dict[int, Tensor] = {}
        for name, cuts in self._cuts.items():
            parameter, buffer = self._parameters.get(name), self._buffers.get(name)
            whole = buffer if parameter is None else parameter
            if whole is not None:
                active = self._active(whole, cuts).detach().clone()
                copies[id(whole)] = (
                    active if parameter is None else nn.Parameter(active, parameter.requires_grad)
                )
        return copies

    def restore_class(self) -> None:
        """Turn a copy that holds the active tensors alone into a module of the original's class."""
        state, plain = self.__dict__, self._plain
        computed = {name: getattr(self, name) for name in self._computed}
        for name in self._own:
            del state[name]
        self.__class__ = plain  # type: ignore[assignment]
        state.update(computed)
        if isinstance(self, nn.RNNBase):
            # Torch keeps a list of the tensors themselves, which still names the whole ones.
            self._init_flat_weights()

    @property
    def sources(self) -> tuple[str, ...]:
        """Attributes of sizes that follow several choices and add up; costs are linear in each of them."""
        for slots in dict.fromkeys(slots for cuts in self._cuts.values() for _, slots in cuts):
            per_tensor = [sum(slots == other for _, other in cuts) for cuts in self._cuts.values()]
            expressions = [self._sizes[slot.size] for slot in slots]
            if max(per_tensor) == 1 and len(choices_of(*expressions)) > 1:
                return tuple(slot.size for slot in slots)
        return ()

    def is_part(self, attribute: str) -> bool:
        """Whether an attribute holds the size of one span of an axis."""
        return attribute in self._sizes

    def num_active(self, name: str) -> int:
        """Return how many numbers the active part of a parameter holds."""
        parameter = self._parameters[name]
        if parameter is None:
            return 0
        shape = list(parameter.shape)
        for dim, slots in self._cuts.get(name, ()):
            shape[dim] = sum(self.__dict__[slot.size] for slot in slots)
        return math.prod(shape)

    def active_share(self) -> tuple[int, int]:
        """Return how many numbers of the module's matrices are active, and how many there are.

        What a layer multiplies is proportional to them.
        """
        matrices = [name for name, p in self._parameters.items() if p is not None and p.ndim > 1]
        whole = sum(cast(Tensor, self._parameters[name]).numel() for name in matrices)
        return (sum(map(self.num_active, matrices)), whole) if whole else (1, 1)

    def extra_repr(self) -> str:
        """Say which sizes are elastic."""
        sizes = {
            name: self.__dict__[name] for name, size in self._sizes.items() if isinstance(size, Expression)
        }
        if not all(isinstance(value, int) for value in sizes.values()):
            return ", ".join(map(str, dict.fromkeys(sizes.values())))
        elastic = ", ".join(f"{name}={value}" for name, value in sizes.items())
        return ", ".join(text for text in (super().extra_repr(), elastic) if text)


def cut_in_place(
    module: nn.Module, axes: Mapping[tuple[str, int], Axis], staying: Collection[str] = ()
) -> None:
    """Make a module elastic; its tensors stay the whole ones.

    Args:
        module: Changed: afterwards it holds expressions where active sizes go.
        axes: The elastic ones, by tensor and dimension; the others stay whole.
        staying: Names of attributes that are as large as a dimension by chance.
    """
    held = dict(list_tensors(module))

    def length(name: str, dim: int) -> Size:
        axis = axes.get((name, dim))
        return total(axis) if axis is not None else held[name].shape[dim] if name in held else 0

    attributes = {name: size for name, size in sizes_of(module, length).items() if name not in staying}
    shape = shape_of(module, length) or ()
    names = tuple(f"normalized_{number}" for number in range(len(shape)))
    cuts, sizes = _cuts(axes)
    own = frozenset({"_cuts", "_sizes", "_shape", "_own", "_gathered", *sizes, *names})
    module.__dict__.update(_cuts=cuts, _sizes=sizes, _shape=names, _own=own, _gathered=None)
    module.__dict__.update({**sizes, **attributes, **dict(zip(names, shape, strict=True))})
    cropped = any(span.centred for axis in axes.values() for span in axis)
    computed = tuple(CROPPED) if cropped else ("normalized_shape",) if shape else ()
    # The class changes and not the object, which may be held in several places.
    module.__class__ = _elastic_class(cast(Any, type(module)), computed, isinstance(module, nn.RNNBase))


def _cuts(
    axes: Mapping[tuple[str, int], Axis],
) -> tuple[dict[str, tuple[tuple[int, _Slots], ...]], dict[str, Size]]:
    """Return how each tensor is cut, and the sizes of all spans by attribute; equal axes share theirs."""
    sizes: dict[str, Size] = {}
    known: dict[Axis, _Slots] = {}
    cuts: dict[str, tuple[tuple[int, _Slots], ...]] = {}
    for (name, dim), axis in axes.items():
        if axis not in known:
            known[axis] = tuple(_slot(span, f"{len(known)}_{n}") for n, span in enumerate(axis))
            sizes.update({slot.size: span.size for slot, span in zip(known[axis], axis, strict=True)})
        cuts[name] = (*cuts.get(name, ()), (dim, known[axis]))
    return cuts, sizes


def _slot(span: Span, number: str) -> _Slot:
    return _Slot(span.start, f"{'kernel' if span.centred else 'width'}_{number}", span.centred)


@functools.cache
def _elastic_class(plain: Any, computed: tuple[str, ...], recurrent: bool) -> type[Cut]:
    """Return a class derived from ``plain`` that reads active tensors; of the same name."""
    body: dict[str, object] = {"_plain": plain, "__module__": plain.__module__, "_computed": computed}
    body.update({name: _COMPUTED[name] for name in computed})
    if recurrent:
        body.update(_RECURRENT)
    return cast(type[Cut], type(plain)(plain.__name__, (Cut, plain), body))


def _read_shape(self: Any) -> tuple[int, ...]:
    return tuple(self.__dict__[name] for name in self._shape)


_COMPUTED: dict[str, object] = {**CROPPED, "normalized_shape": property(_read_shape)}


def _flat_weights(self: Any) -> list[Tensor]:
    return [getattr(self, name) for name in self._flat_weights_names]


_RECURRENT: dict[str, object] = {
    # Torch's recurrent layers keep a list of their whole tensors, which they bring up to date at many occasions.
    "_flat_weights": property(_flat_weights, lambda _self, _weights: None),
    "_init_flat_weights": lambda _self: None,
    "_update_flat_weights": lambda _self: None,
    "flatten_parameters": lambda _self: None,
    "__getstate__": lambda self: self.__dict__.copy(),
    "__setstate__": nn.Module.__setstate__,
}
