"""Running many architectures of a network on one item: what forms they give and how much they multiply.

A layer's output of given sizes, from inputs of a given form, always has one form, and the layer multiplies as often. So
each of ours computes once for each, and afterwards hands out zeros of that form.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from nas.supernet import elastic, token_layers
from nas.supernet.token_convolution import TokenConvolution
from nas.supernet.unfused import avoid_fused_kernels

_LAYERS = (
    elastic.Conv2d,
    elastic.Linear,
    elastic.BatchNorm1d,
    elastic.BatchNorm2d,
    token_layers.LayerNorm,
    token_layers.Embedding,
    token_layers.Positions,
    TokenConvolution,
)
"""Layers whose output's form follows from their sizes and the form of their one input, and which do nothing else."""
_Form = tuple[torch.Size, tuple[int, ...], torch.dtype, torch.device]
_Formula = Callable[..., int]


class _Kind(enum.Enum):
    """Kinds of operations that have no formula."""

    FREE = enum.auto()
    MADE_OF_OTHERS = enum.auto()
    RUNS_FUNCTIONS = enum.auto()
    """A loop or a branch."""


@final
class FlopCounter(TorchDispatchMode):
    """Counts what is multiplied and added inside, as torch's ``FlopCounterMode`` does and by its formulas, only faster.

    That one keeps account of modules, and asks for each operation anew whether it is made of others.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self._kinds: dict[Any, _Kind | _Formula] = {}

    def __torch_dispatch__(
        self, function: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        kind = self._kinds.get(function)
        if kind is None:
            kind = self._kinds[function] = _kind_of(function)
        if kind is _Kind.MADE_OF_OTHERS:
            # Inside of a dispatch the mode is off.
            with self:
                return function.decompose(*args, **named)
        if kind is _Kind.RUNS_FUNCTIONS:
            with FlopCounterMode(display=False) as counter:
                output = function(*args, **named)
            self.flops += counter.get_total_flops()
            return output
        output = function(*args, **named)
        if not isinstance(kind, _Kind):
            self.flops += kind(*args, **named, out_val=output)
        return output


def _kind_of(function: Any) -> _Kind | _Formula:
    if not isinstance(function, torch._ops.OpOverload):
        return _Kind.RUNS_FUNCTIONS
    if function._can_decompose() and function is not torch.ops.prim.device.default:
        return _Kind.MADE_OF_OTHERS
    formula: _Kind | _Formula = flop_registry.get(function._overloadpacket, _Kind.FREE)
    return formula


class _Known(NamedTuple):
    """What a layer gives for some sizes and inputs of some form."""

    form: _Form
    flops: int


@contextlib.contextmanager
def counting(network: nn.Module) -> Iterator[FlopCounter]:
    """Count what ``network`` runs inside, in operations that hide no product, without gradients."""
    with torch.no_grad(), avoid_fused_kernels(network), FlopCounter() as counter:
        yield counter


@contextlib.contextmanager
def probing(network: nn.Module) -> Iterator[FlopCounter]:
    """Count what ``network`` runs inside, where its layers compute only what has a new form, and otherwise give zeros.

    Args:
        network: In evaluation mode. All that is written in the ``forward`` of other modules still runs.
    """
    ours = [module for module in network.modules() if type(module) in _LAYERS]
    layers = [layer for layer in ours if "forward" not in vars(layer)]  # nobody replaced what it computes
    zeros: dict[_Form, Tensor] = {}
    with counting(network) as counter:
        try:
            for layer in layers:
                layer.__dict__["forward"] = _make_remembering(layer, counter, zeros)
            yield counter
        finally:
            for layer in layers:
                layer.__dict__.pop("forward", None)


def _make_remembering(
    layer: nn.Module, counter: FlopCounter, zeros: dict[_Form, Tensor]
) -> Callable[[Tensor], Tensor]:
    """Return a ``forward`` that computes once for each of the layer's sizes and each form of its input."""
    known: dict[tuple[object, ...], _Known] = {}
    compute, state = layer.forward, layer.__dict__
    # The sizes are plain attributes, and whatever else decides the form of the output is one too.
    attributes = [name for name, value in state.items() if isinstance(value, int | float | str | tuple)]

    def forward(inputs: Tensor) -> Tensor:
        key = (_form(inputs), *[state[attribute] for attribute in attributes])
        found = known.get(key)
        if found is None:
            before = counter.flops
            computed: Tensor = compute(inputs)
            known[key] = _Known(_form(computed), counter.flops - before)
            return computed
        counter.flops += found.flops
        output = zeros.get(found.form)
        if output is None or _form(output) != found.form:  # a forward may have changed it in place
            shape, strides, dtype, device = found.form
            output = torch.empty_strided(shape, strides, dtype=dtype, device=device).zero_()
            zeros[found.form] = output
        return output

    return forward


def _form(tensor: Tensor) -> _Form:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device
