"""Packages whose names are imported when somebody first asks for them (PEP 562).

Importing torch takes seconds and hundreds of megabytes; who only lists runs, reads a record or shows a page
shouldn't pay for it because a package also offers what trains.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec


def import_on_demand(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return a ``__getattr__`` for a package, which imports a name's module when the name is first used.

    A submodule is found too: after ``import nas``, ``nas.supernet`` is there.

    Args:
        package: Its ``__name__``.
        homes: By module, the names that the package offers of it, with spaces between.
    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}

    def find(name: str) -> object:
        if name in home_of:
            value = getattr(import_module(home_of[name]), name)
            setattr(sys.modules[package], name, value)  # asked for once
            return value
        if not name.startswith("_") and find_spec(f"{package}.{name}") is not None:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
