"""The network with choices that a winner was found in, made again from what its folder says of it."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from nas.checks import failing_as
from nas.errors import ExportError
from nas.supernet.scaling import Growth

TRUSTED_SPACES = "NAS_SEARCH_SPACES"
"""Environment variable: packages, by comma, whose networks ``load`` may import."""
DEFAULT_SPACES = "search_spaces"
"""What ``NAS_SEARCH_SPACES`` is unless set."""


@final
@dataclass(frozen=True)
class NetworkOrigin:
    """What makes the network with choices that a winner was found in.

    Args:
        factory: ``package.module:function``.
        arguments: Arguments of the function, by name.
        scaled: How the network was grown; None where it wasn't.
    """

    factory: str
    arguments: Mapping[str, Any]
    scaled: Growth | None = None


def find_maker(origin: NetworkOrigin, given: Callable[..., nn.Module] | None) -> Callable[[], nn.Module]:
    """Return what makes the network, before it was grown.

    Args:
        origin: Where it came from.
        given: Function that the user passed, if any; nothing is imported then.

    Raises:
        ExportError: nothing was passed and the function is not in a trusted package, or it takes other arguments.
    """
    arguments = origin.arguments
    package, _, name = origin.factory.partition(":")
    if given is not None:
        as_text = name.startswith("<") and name != "<lambda>"  # see network_reference
        known = {} if as_text else arguments
        return _with_arguments(given, known, f"{package}:{name}")
    # A folder may come from anybody, and importing a module runs it.
    trusted = [name.strip() for name in os.environ.get(TRUSTED_SPACES, DEFAULT_SPACES).split(",")]
    if package.partition(".")[0] not in trusted or not name.isidentifier():
        raise ExportError(
            f"the winner's network is {package}:{name}, which is not in {trusted}: pass the function that makes "
            f"it as nas.load(folder, network=...), or name its package in {TRUSTED_SPACES}."
        )
    fault = f"the winner's network {package}:{name} can't be imported"
    with failing_as(
        ExportError, fault, "correct its file, or pass the function as nas.load(folder, network=...)"
    ):
        factory = getattr(importlib.import_module(package), name)
    return _with_arguments(factory, arguments, f"{package}:{name}")


def _with_arguments(
    factory: Callable[..., nn.Module], stored: Mapping[str, Any], name: str
) -> Callable[[], nn.Module]:
    """Return a function without arguments: with those stored, where it takes any and doesn't state them itself."""
    wanted = dict(stored)
    try:
        if isinstance(factory, functools.partial):
            whole = inspect.signature(factory.func)
            for key in whole.bind_partial(*factory.args, **factory.keywords).arguments:
                wanted.pop(key, None)
        signature = inspect.signature(factory)
        wanted = wanted if signature.parameters else {}
        signature.bind(**wanted)
    except (TypeError, ValueError) as error:
        raise ExportError(
            f"the network that was passed can't be called with the arguments of the winner's, {wanted} ({error}): pass "
            f"{name}, or functools.partial(...) of it with all its arguments."
        ) from error
    return functools.partial(factory, **wanted)
