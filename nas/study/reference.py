"""What a study is known by in files: representations that are the same in every process."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from torch import nn

from nas.errors import StudyError
from nas.stored import to_json
from nas.supernet.scaling import ScaledNetwork


def stable_repr(value: object) -> str:
    """Return ``repr(value)`` without memory addresses, to compare between processes."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def network_reference(network: Callable[[], nn.Module]) -> dict[str, object]:
    """Return where a network comes from, as plain values: ``factory``, ``arguments``, and ``scaled`` where it was.

    ``arguments`` are those of a ``functools.partial``, as :func:`nas.stored.to_json` gives them. What can't be told in
    plain values, such as a closure or an argument that is an object, has a ``factory`` that is no name:
    ``module:<lambda>``.
    """
    if isinstance(network, ScaledNetwork):
        return {**network_reference(network.network), "scaled": network.growth.describe()}
    arguments: dict[str, object] = {}
    factory: object = network
    if isinstance(network, functools.partial):
        if network.args:
            raise StudyError("name the arguments of the network's partial: partial(convnet, classes=10).")
        arguments, factory = dict(network.keywords), network.func
    name = getattr(factory, "__qualname__", f"<{type(factory).__qualname__}>")
    try:
        told = {key: to_json(value) for key, value in arguments.items()}
    except TypeError:
        name, told = f"<{name}>", {key: stable_repr(value) for key, value in arguments.items()}
    return {"factory": f"{getattr(factory, '__module__', '?')}:{name}", "arguments": told}
