"""Modules of any class in whose ``forward`` some of the heads of an attention are active."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from nas.choices import Choice, Size, largest_value
from nas.supernet.cut import Cut
from nas.supernet.narrowing import Narrowed, narrow


@final
@dataclass(frozen=True)
class Narrowing:
    """How a ``forward`` that takes the size of all heads for that of its input is run with fewer.

    Args:
        channels: Channels of the input.
        inner: Size of all active heads together.
    """

    channels: int
    inner: Size


class Attending(nn.Module):
    """Mixed into a module's own class; made by :func:`attend_in_place`."""

    active_heads: int
    _all_heads: int
    _channels: int | None
    _inner: int

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Run the module; what it keeps for later calls would not fit another number of heads."""
        kept = {name: dict(value) for name, value in vars(self).items() if _is_cache(name, value)}
        try:
            if self._channels is None:
                return super().__call__(*inputs, **named)
            with narrow(self._channels, self._inner):
                return super().__call__(*inputs, **named)
        finally:
            self.__dict__.update(kept)

    def active_share(self) -> tuple[int, int]:
        """Return how many heads are active, and how many there are; what the module multiplies is proportional."""
        return self.active_heads, self._all_heads

    def is_part(self, attribute: str) -> bool:
        """Whether an attribute holds a size on which costs depend."""
        if attribute == "active_heads" or not isinstance(self, Cut):
            return attribute == "active_heads"
        return Cut.is_part(self, attribute)

    def restore_class(self) -> Narrowed | None:
        """Turn a copy into a module of the class that it had, and return what must stand in its place, if anything."""
        state = self.__dict__
        channels, inner, fewer = self._channels, self._inner, self.active_heads < self._all_heads
        # Behind the made class and Attending itself.
        self.__class__ = type(self).__mro__[2]
        for name in ("active_heads", "_all_heads", "_channels", "_inner"):
            del state[name]
        if channels is None or not fewer:
            return None
        return Narrowed(self, channels, inner).train(self.training)


_REGISTRIES = frozenset(vars(nn.Module()))
"""Attributes of every module."""


def _is_cache(name: str, value: object) -> bool:
    """Whether an attribute of a module is a dictionary of its own, in which a ``forward`` may keep what it computed."""
    return type(value) is dict and name not in _REGISTRIES and not name.startswith("_cut")


def attend_in_place(module: nn.Module, heads: Choice, narrowing: Narrowing | None) -> None:
    """Make a module one in whose ``forward`` some heads are active.

    Args:
        module: Changed; its layers are cut elsewhere.
        heads: How many are active.
        narrowing: For a ``forward`` that must not see the channels of its input.
    """
    module.__dict__.update(
        active_heads=heads,
        _all_heads=largest_value(heads),
        _channels=None if narrowing is None else narrowing.channels,
        _inner=0 if narrowing is None else narrowing.inner,
    )
    module.__class__ = _make_attending_class(type(module))  # type: ignore[arg-type]


@functools.cache
def _make_attending_class(plain: type[nn.Module]) -> type[nn.Module]:
    return type(plain.__name__, (Attending, plain), {"__module__": plain.__module__})
