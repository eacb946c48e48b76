"""Where a module holds choices, when each of its parts is in use, and what is left when they are made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast, final, runtime_checkable

from torch import nn

from nas.choices import Choice, Expression
from nas.errors import SpaceError
from nas.space import Condition, SearchSpace
from nas.supernet.attending import Attending
from nas.supernet.copying import copy_module
from nas.supernet.cut import Cut
from nas.supernet.elastic import ElasticLayer


@runtime_checkable
class ElasticDepth(Protocol):
    """A module that doesn't use all of its blocks in every architecture."""

    def conditional_blocks(self) -> list[tuple[str, nn.Module, tuple[Condition, ...]]]:
        """Return each block with its name and the conditions under which it is in use."""

    def extract_blocks(self, copied: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Return the active blocks as a plain module; ``copied`` copies one block."""


@final
@dataclass(frozen=True)
class Slot:
    """An attribute that holds the active value of an expression."""

    module: nn.Module
    attribute: str
    expression: Expression


@final
@dataclass
class Site:
    """A module of the network and when it is in use: any of the alternatives, each a conjunction."""

    module: nn.Module
    path: str
    slots: tuple[Slot, ...]
    alternatives: list[tuple[Condition, ...]]

    @property
    def conditional(self) -> bool:
        """Whether some architecture doesn't use the module."""
        return () not in self.alternatives


@functools.cache
def _has_depth(kind: type[nn.Module]) -> bool:
    """Whether modules of a class have elastic depth; asked once, because protocols are slow to check."""
    return issubclass(kind, ElasticDepth)


@functools.cache
def _is_layer(kind: type[nn.Module]) -> bool:
    """Whether modules of a class are elastic layers."""
    return issubclass(kind, ElasticLayer)


def find_sites(root: nn.Module) -> list[Site]:
    """Walk the module, outermost first; a shared module is one site with several alternatives."""
    sites: dict[int, Site] = {}

    def walk(module: nn.Module, path: str, conditions: tuple[Condition, ...]) -> None:
        site = sites.get(id(module))
        if site is None:
            slots = tuple(
                Slot(module, name, value)
                for name, value in vars(module).items()
                if isinstance(value, Expression)
            )
            site = sites[id(module)] = Site(module, path, slots, [])
        if conditions not in site.alternatives:
            site.alternatives.append(conditions)
        if _has_depth(type(module)):  # type: ignore[arg-type]
            for name, block, more in cast(ElasticDepth, module).conditional_blocks():
                walk(block, f"{path}.{name}".removeprefix("."), conditions + more)
        else:
            for name, child in module.named_children():
                walk(child, f"{path}.{name}" if path else name, conditions)

    walk(root, "", ())
    return list(sites.values())


def plain_copy(root: nn.Module, sites: list[Site]) -> nn.Module:
    """Return what is active of ``root`` as a plain module with its own weights.

    Elastic layers become layers of ``torch.nn``; all other modules are copied.
    """
    replaced: dict[int, object] = {}
    for site in sites:
        if _is_layer(type(site.module)):  # type: ignore[arg-type]
            replaced[id(site.module)] = cast(ElasticLayer, site.module).extract()
        elif isinstance(site.module, Cut):
            for whole, part in site.module.active_tensors().items():
                replaced.setdefault(whole, part)  # tied tensors stay tied
    rows = [site.module for site in sites if _has_depth(type(site.module))]  # type: ignore[arg-type]
    # Those that hold fewest others first, so that a row of blocks finds the rows inside it replaced.
    for row in sorted(rows, key=lambda r: sum(_has_depth(type(m)) for m in r.modules())):  # type: ignore[arg-type]
        replaced[id(row)] = cast(ElasticDepth, row).extract_blocks(lambda block: copy_module(block, replaced))
    plain = copy_module(root, replaced)
    wrapped: dict[nn.Module, nn.Module] = {}
    for module in list(plain.modules()):
        if isinstance(module, Attending) and (wrapper := module.restore_class()) is not None:
            wrapped[module] = wrapper
        if isinstance(module, Cut):
            module.restore_class()
    for parent in list(plain.modules()):
        for name, child in parent.named_children():
            parent._modules[name] = wrapped.get(child, child)
    return wrapped.get(plain, plain)


def space_of(sites: list[Site]) -> SearchSpace:
    """Return the space of all choices that a module holds.

    Raises:
        SpaceError: there are none, or two different choices share a name.
    """
    choices: dict[str, Choice] = {}
    alternatives: dict[str, list[tuple[Condition, ...]]] = {}
    for site in sites:
        for slot in site.slots:
            for found in slot.expression.choices:
                known = choices.setdefault(found.name, found)
                # By repr, because 1 and True are equal, and different options.
                if known is not found and repr(known) != repr(found):
                    raise SpaceError(
                        f"choice {found.name!r} is used with the options {known.options} and, in module "
                        f"{site.path!r}, with {found.options}: one name must mean one choice."
                    )
                alternatives.setdefault(found.name, []).extend(site.alternatives)
    if not choices:
        raise SpaceError(
            "the module has no choices: put nas.choice(name, options...) where a size of an elastic layer "
            "goes."
        )
    conditions = {
        name: tuple(dict.fromkeys(found)) for name, found in alternatives.items() if () not in found
    }
    return SearchSpace(tuple(choices.values()), conditions)
