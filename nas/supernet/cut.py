"""Elastic layers made from layers of ``torch.nn`` that exist, with their weights.

An axis of a weight is a row of parts, one for each tensor that was concatenated to make it (usually one).
Of every part the first channels are active. With one part the active weight is a view; with several it
is gathered anew in each forward pass, which is the one place where switching isn't free.
"""

from __future__ import annotations

import copy
import functools
import operator
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.choices import Expression, Size, largest_value

IN, OUT = "in", "out"


@final
@dataclass(frozen=True)
class Part:
    """Consecutive channels of an axis, of which the first ``size`` are active.

    Args:
        start: Position of the first.
        size: How many are active; all of them in the largest architecture.
    """

    start: int
    size: Size

    @property
    def length(self) -> int:
        """How many channels there are."""
        return largest_value(self.size)


Axis = tuple[Part, ...]


def total(axis: Axis) -> Size:
    """Return how many channels of an axis are active."""
    return functools.reduce(operator.add, (part.size for part in axis))


def unshared(state: dict[str, Any]) -> dict[str, Any]:
    """Return a module's attributes with containers of its own: hooks of one must not run in another."""
    return {key: copy.copy(value) if isinstance(value, dict | set) else value for key, value in state.items()}


class CutLayer(nn.Module):
    """Base of the layers here: shares its original's state and uses the active part of it.

    A subclass names, for each axis, the tensors and dimensions that run along it. Its ``forward`` takes
    ``self.cut("weight")`` where the original takes ``self.weight``.
    """

    AXES: ClassVar[dict[str, tuple[tuple[str, int], ...]]]
    SIZES: ClassVar[dict[str, str]] = {}
    """Attribute of the original that holds the length of an axis."""
    PLAIN: ClassVar[type[nn.Module]]

    @classmethod
    def of(cls, layer: nn.Module, axes: dict[str, Axis]) -> Self:
        """Return an elastic form of ``layer`` that shares its parameters and buffers.

        Args:
            layer: Of the type that this class stands for.
            axes: The elastic ones, by name; the others stay whole.
        """
        made = cls.__new__(cls)
        made.__dict__.update(unshared(layer.__dict__))
        made._own = frozenset()
        parts: dict[str, tuple[tuple[int, str], ...]] = {}
        for name, axis in axes.items():
            slots = tuple((part.start, f"{name}_{number}") for number, part in enumerate(axis))
            for (_, slot), part in zip(slots, axis, strict=True):
                setattr(made, slot, part.size)
            parts[name] = slots
            if name in cls.SIZES:
                setattr(made, cls.SIZES[name], total(axis))
        made._parts = parts
        made._dims = {
            tensor: tuple((dim, parts[name]) for name in axes for t, dim in cls.AXES[name] if t == tensor)
            for tensor in dict.fromkeys(t for name in axes for t, _ in cls.AXES[name])
        }
        made._own = frozenset({"_parts", "_dims", "_own", *(s for slots in parts.values() for _, s in slots)})
        return made

    _parts: dict[str, tuple[tuple[int, str], ...]]
    _dims: dict[str, tuple[tuple[int, tuple[tuple[int, str], ...]], ...]]
    _own: frozenset[str]

    @classmethod
    def tensors(cls) -> tuple[tuple[str, int], ...]:
        """Return the tensors that can be cut, with the dimension."""
        return tuple(pair for pairs in cls.AXES.values() for pair in pairs)

    @property
    def sources(self) -> tuple[str, ...]:
        """Attributes of the sizes that add up to the input; costs are linear in each of them."""
        slots = self._parts.get(IN) or self._parts.get(OUT, ())
        return tuple(slot for _, slot in slots) if len(slots) > 1 else ()

    def is_part(self, attribute: str) -> bool:
        """Whether an attribute holds the size of one part of an axis."""
        return any(attribute == slot for slots in self._parts.values() for _, slot in slots)

    def cut(self, name: str) -> Any:
        """Return the active part of a parameter or buffer; None where the layer has none."""
        tensor = getattr(self, name)
        if tensor is None:
            return None
        for dim, slots in self._dims.get(name, ()):
            tensor = self._narrowed(tensor, dim, slots)
        return tensor

    def _narrowed(self, tensor: Tensor, dim: int, slots: tuple[tuple[int, str], ...]) -> Tensor:
        sizes = self.__dict__
        pieces = [tensor.narrow(dim, start, sizes[slot]) for start, slot in slots]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim)

    def length(self, name: str, whole: int) -> int:
        """Return how many channels of an axis are active; ``whole`` where it isn't elastic."""
        slots = self._parts.get(name)
        return whole if slots is None else sum(self.__dict__[slot] for _, slot in slots)

    def extract(self) -> nn.Module:
        """Return the active part as the torch layer that this one was made from."""
        layer = self.PLAIN.__new__(self.PLAIN)
        registries = ("_parameters", "_buffers", "_modules")
        kept = {k: v for k, v in self.__dict__.items() if k not in self._own and k not in registries}
        layer.__dict__.update(unshared(kept), _parameters={}, _buffers={}, _modules={})
        for name, parameter in self._parameters.items():
            value = None if parameter is None else self.cut(name).detach().clone()
            layer.register_parameter(
                name, None if value is None else nn.Parameter(value, cast(Tensor, parameter).requires_grad)
            )
        for name, buffer in self._buffers.items():
            persistent = name not in self._non_persistent_buffers_set
            value = None if buffer is None else self.cut(name).detach().clone()
            layer.register_buffer(name, value, persistent)
        return layer

    def num_active_params(self) -> int:
        """Return how many numbers the active part's parameters hold."""
        return sum(self._num_active(name) for name, p in self._parameters.items() if p is not None)

    def _num_active(self, name: str) -> int:
        shape = list(cast(Tensor, getattr(self, name)).shape)
        for dim, slots in self._dims.get(name, ()):
            shape[dim] = sum(self.__dict__[slot] for _, slot in slots)
        return functools.reduce(operator.mul, shape, 1)

    def macs_per_position(self) -> int:
        """Return 0; layers that multiply matrices override it."""
        return 0

    def extra_repr(self) -> str:
        """Say which sizes are elastic."""
        sizes = {slot: self.__dict__[slot] for slots in self._parts.values() for _, slot in slots}
        elastic = ", ".join(f"{s}={v}" for s, v in sizes.items() if not isinstance(v, Expression))
        return ", ".join(text for text in (super().extra_repr(), elastic) if text)


@final
class CutConv2d(CutLayer, nn.Conv2d):
    """``torch.nn.Conv2d`` with elastic widths."""

    AXES: ClassVar = {OUT: (("weight", 0), ("bias", 0)), IN: (("weight", 1),)}
    SIZES: ClassVar = {OUT: "out_channels", IN: "in_channels"}
    PLAIN = nn.Conv2d

    def forward(self, input: Tensor) -> Tensor:
        """Convolve with the active weights."""
        output: Tensor = self._conv_forward(input, self.cut("weight"), self.cut("bias"))
        return output

    def macs_per_position(self) -> int:
        """Return multiply-accumulates per output pixel."""
        return self._num_active("weight")


@final
class CutDepthwiseConv2d(CutLayer, nn.Conv2d):
    """A depthwise ``torch.nn.Conv2d``: one axis is input, output and groups."""

    AXES: ClassVar = {OUT: (("weight", 0), ("bias", 0))}
    SIZES: ClassVar = {OUT: "out_channels"}
    PLAIN = nn.Conv2d

    @classmethod
    def of(cls, layer: nn.Module, axes: dict[str, Axis]) -> Self:
        """As for every layer; the sizes of the input and the groups follow."""
        made = super().of(layer, axes)
        made.in_channels = made.groups = made.out_channels
        return made

    def forward(self, input: Tensor) -> Tensor:
        """Convolve with the active weights."""
        output: Tensor = self._conv_forward(input, self.cut("weight"), self.cut("bias"))
        return output

    def macs_per_position(self) -> int:
        """Return multiply-accumulates per output pixel."""
        return self._num_active("weight")


@final
class CutConvTranspose2d(CutLayer, nn.ConvTranspose2d):
    """``torch.nn.ConvTranspose2d`` with elastic widths."""

    AXES: ClassVar = {OUT: (("weight", 1), ("bias", 0)), IN: (("weight", 0),)}
    SIZES: ClassVar = {OUT: "out_channels", IN: "in_channels"}
    PLAIN = nn.ConvTranspose2d

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve with the active weights."""
        stride, padding, dilation = (
            list(cast(tuple[int, int], x)) for x in (self.stride, self.padding, self.dilation)
        )
        more = self._output_padding(input, output_size, stride, padding, list(self.kernel_size), 2, dilation)
        weight, bias = self.cut("weight"), self.cut("bias")
        return F.conv_transpose2d(input, weight, bias, stride, padding, more, 1, dilation)


@final
class CutLinear(CutLayer, nn.Linear):
    """``torch.nn.Linear`` with elastic widths."""

    AXES: ClassVar = {OUT: (("weight", 0), ("bias", 0)), IN: (("weight", 1),)}
    SIZES: ClassVar = {OUT: "out_features", IN: "in_features"}
    PLAIN = nn.Linear

    def forward(self, input: Tensor) -> Tensor:
        """Multiply with the active weights."""
        return F.linear(input, self.cut("weight"), self.cut("bias"))

    def macs_per_position(self) -> int:
        """Return multiply-accumulates per input vector."""
        return self._num_active("weight")


class _CutBatchNorm(CutLayer, nn.modules.batchnorm._BatchNorm):
    """Batch normalisation with an elastic width; the running statistics are shared by all widths."""

    AXES: ClassVar = {OUT: tuple((t, 0) for t in ("weight", "bias", "running_mean", "running_var"))}
    SIZES: ClassVar = {OUT: "num_features"}

    def forward(self, input: Tensor) -> Tensor:
        """As torch does, with the active statistics."""
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        updating = self.training and self.track_running_stats
        known = self.running_mean is not None and (not self.training or self.track_running_stats)
        mean, variance = (self.cut("running_mean"), self.cut("running_var")) if known else (None, None)
        output = F.batch_norm(
            input,
            mean,
            variance,
            self.cut("weight"),
            self.cut("bias"),
            self.training or self.running_mean is None,
            momentum,
            self.eps,
        )
        if updating and mean is not None and variance is not None and len(self._parts[OUT]) > 1:
            self._store("running_mean", mean)
            self._store("running_var", variance)
        return output

    @torch.no_grad()
    def _store(self, name: str, gathered: Tensor) -> None:
        """Write statistics that were gathered from several parts back to where they came from."""
        begin = 0
        for start, slot in self._parts[OUT]:
            size = self.__dict__[slot]
            cast(Tensor, getattr(self, name)).narrow(0, start, size).copy_(gathered.narrow(0, begin, size))
            begin += size


@final
class CutBatchNorm1d(_CutBatchNorm, nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d`` with an elastic width."""

    PLAIN = nn.BatchNorm1d


@final
class CutBatchNorm2d(_CutBatchNorm, nn.BatchNorm2d):
    """``torch.nn.BatchNorm2d`` with an elastic width."""

    PLAIN = nn.BatchNorm2d


@final
class CutLayerNorm(CutLayer, nn.LayerNorm):
    """``torch.nn.LayerNorm`` over one elastic axis."""

    AXES: ClassVar = {OUT: (("weight", 0), ("bias", 0))}
    PLAIN = nn.LayerNorm

    def forward(self, input: Tensor) -> Tensor:
        """Normalise over the active channels."""
        size = self.length(OUT, self.normalized_shape[0])
        return F.layer_norm(input, (size,), self.cut("weight"), self.cut("bias"), self.eps)

    def extract(self) -> nn.Module:
        """Return the active part as ``torch.nn.LayerNorm``."""
        layer = super().extract()
        layer.__dict__["normalized_shape"] = (self.length(OUT, self.normalized_shape[0]),)
        return layer


@final
class CutEmbedding(CutLayer, nn.Embedding):
    """``torch.nn.Embedding`` with an elastic width."""

    AXES: ClassVar = {OUT: (("weight", 1),)}
    SIZES: ClassVar = {OUT: "embedding_dim"}
    PLAIN = nn.Embedding

    def forward(self, input: Tensor) -> Tensor:
        """Look the active part of the vectors up."""
        return F.embedding(
            input,
            self.cut("weight"),
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )


@final
class CutPReLU(CutLayer, nn.PReLU):
    """``torch.nn.PReLU`` with one slope per elastic channel."""

    AXES: ClassVar = {OUT: (("weight", 0),)}
    SIZES: ClassVar = {OUT: "num_parameters"}
    PLAIN = nn.PReLU

    def forward(self, input: Tensor) -> Tensor:
        """Apply the active slopes."""
        return F.prelu(input, self.cut("weight"))


_CUT: tuple[type[CutLayer], ...] = (
    CutConv2d,
    CutConvTranspose2d,
    CutLinear,
    CutBatchNorm1d,
    CutBatchNorm2d,
    CutLayerNorm,
    CutEmbedding,
    CutPReLU,
)


def cut_type(layer: nn.Module) -> type[CutLayer] | str:
    """Return the elastic form of a layer, or why there is none."""
    kind = type(layer).__name__
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.groups > 1:
        depthwise = layer.groups == layer.in_channels == layer.out_channels
        if type(layer) is nn.Conv2d and depthwise:
            return CutDepthwiseConv2d
        return f"a {kind} of {layer.groups} groups, whose channels can't be ordered freely"
    if isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) != 1:
        return f"a LayerNorm over {len(layer.normalized_shape)} axes"
    if isinstance(layer, nn.Embedding) and layer.max_norm is not None:
        return "an Embedding with max_norm, which rescales whole vectors"
    for known in _CUT:
        if type(layer) is known.PLAIN:
            return known
    return f"a {kind}, which has no elastic form"


def axis_tensors(layer: nn.Module, axis: str) -> list[tuple[str, Tensor, int]]:
    """Return the tensors of a layer that run along an axis, each with its name and the dimension."""
    known = cut_type(layer)
    assert not isinstance(known, str), known
    found = [(name, getattr(layer, name), dim) for name, dim in known.AXES[axis]]
    return [(name, tensor, dim) for name, tensor, dim in found if tensor is not None]


def axis_length(layer: nn.Module, axis: str) -> int:
    """Return how many channels an axis of a layer has, of a norm without weights too."""
    for _, tensor, dim in axis_tensors(layer, axis):
        return tensor.shape[dim]
    assert isinstance(layer, nn.LayerNorm | nn.modules.batchnorm._BatchNorm), layer
    return layer.normalized_shape[0] if isinstance(layer, nn.LayerNorm) else layer.num_features
