"""Attention that takes the size of all its heads together for the number of channels of its input.

``B, N, C = x.shape``, then ``reshape(B, N, heads, C // heads)``: most attention is written so, and can't have fewer
heads than its input has room for. While such a ``forward`` runs, the shape that it reads off its input says how
large its heads are together, and where it gives a tensor back the shape of the input, that is put right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_SHAPE = torch.Tensor.shape.__get__  # type: ignore[attr-defined]
_RESHAPES = (torch.Tensor.reshape, torch.Tensor.view, torch.reshape)


class _Inner(int):
    """Says how large all heads are together, where the number of channels of the input was asked for."""


@final
class _Narrow(TorchFunctionMode):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self._channels, self._inner = channels, inner

    def __torch_function__(
        self, function: Callable[..., Any], _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        if function == _SHAPE or (function is torch.Tensor.size and len(args) == 1 and not named):
            return self._shorten_shape(function(*args))
        if function is torch.Tensor.size:
            shape = self._shorten_shape(args[0].size())
            return shape[named["dim"] if named else args[1]]
        if function in _RESHAPES:
            return function(args[0], *self._fit_sizes(args[0], args[1:]), **named)
        return function(*map(_plain, args), **{name: _plain(value) for name, value in named.items()})

    def _shorten_shape(self, shape: Iterable[int]) -> tuple[int, ...]:
        """Return a shape in which the last axis that holds all channels is as long as all active heads."""
        said = list(shape)
        # The last one, because it is the channels' place in (n, length, channels), and a length may be equal by chance.
        places = [place for place, length in enumerate(said) if length == self._channels]
        if places:
            said[places[-1]] = _Inner(self._inner)
        return tuple(said)

    def _fit_sizes(self, tensor: Tensor, sizes: tuple[Any, ...]) -> list[Any]:
        """Return sizes that hold as many numbers as ``tensor``: with the input's channels where they are asked for."""
        sizes = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
        plain = [_plain(size) for size in sizes]
        whole = [self._channels if isinstance(size, _Inner) else size for size in sizes]
        if whole == plain:
            return plain
        count = math.prod(tensor.shape)  # the mode is off in here
        return plain if _holds(plain, count) else whole


def _holds(sizes: list[Any], count: int) -> bool:
    known = math.prod(size for size in sizes if size != -1)
    return bool(count % known == 0 if -1 in sizes else known == count)


def _plain(value: Any) -> Any:
    if isinstance(value, _Inner):
        return int(value)
    if isinstance(value, tuple | list) and any(isinstance(item, _Inner) for item in value):
        return type(value)(map(_plain, value))
    return value


@contextmanager
def narrow(channels: int, inner: int) -> Iterator[None]:
    """Let code that runs inside see ``inner`` where a tensor has ``channels``."""
    with _Narrow(channels, inner):
        yield


@final
class Narrowed(nn.Module):
    """Runs attention with fewer heads than its input has room for.

    Args:
        module: The attention.
        channels: Channels of its input.
        inner: Size of all heads together.
    """

    def __init__(self, module: nn.Module, channels: int, inner: int) -> None:
        super().__init__()
        self.module, self.channels, self.inner = module, channels, inner

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the attention."""
        with narrow(self.channels, self.inner):
            return self.module(*inputs, **named)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # While a copy is being made there is no module yet, and asking for it would ask here again without an end.
            if "module" not in self.__dict__.get("_modules", {}):
                raise
            return getattr(super().__getattr__("module"), name)
