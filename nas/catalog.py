"""Studies by name or file: the only place that imports what it is told to."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nas.checks import failing_as
from nas.errors import CatalogError, NasError
from nas.files import digest

if TYPE_CHECKING:
    from nas.study import Study

STUDY_PACKAGES = "NAS_STUDIES"
"""Environment variable: packages of studies, by comma. Default ``studies``, where there is such a package."""
_DEFAULT_PACKAGE = "studies"


def study_names() -> list[str]:
    """Return the names of all studies in the operator's packages.

    Raises:
        CatalogError: a package can't be imported.
    """
    return sorted(name for package in study_packages() for name in _modules(package))


def find_study(name: str) -> Study:
    """Return the study of that name, or in that Python file.

    A study file defines a function ``study()`` that returns a :class:`nas.Study`.

    Args:
        name: A name from :func:`study_names`, or a path that ends in ``.py``.

    Raises:
        CatalogError: no such study, or the file can't be imported or defines none.
    """
    from nas.study import Study  # here, because names are listed without torch

    module = _from_file(Path(name)) if name.endswith(".py") else _from_package(name)
    make = getattr(module, "study", None)
    if not callable(make):
        raise CatalogError(f"{name} defines no function study(): define one that returns a nas.Study.")
    with failing_as(CatalogError, f"study() in {name} failed", "correct the file"):
        made = make()
    if not isinstance(made, Study):
        raise CatalogError(f"study() in {name} returned {type(made).__name__}: a nas.Study is expected.")
    return made


def describe_study(name: str) -> dict[str, Any]:
    """Return what a user must know of a study to choose and change it, as plain values.

    Args:
        name: From :func:`study_names`.

    Returns:
        ``name``, ``title``, ``objectives``, ``constraints`` (every quantity that can be limited, with the
        study's own limit or None), ``defaults``, ``changeable``, ``needs``, ``uses_knowledge`` (whether earlier runs
        can tell its strategy where to look), and ``error``: None, or the sentence that says why the study can't be
        used; the rest is empty then.
    """
    from nas.objectives import CountedObjective
    from nas.strategy import uses_knowledge
    from nas.study import limitable, stable_repr

    nothing: dict[str, Any] = {"name": name, "title": name, "objectives": [], "constraints": []}
    nothing |= {"defaults": {}, "changeable": [], "needs": {}, "uses_knowledge": False, "error": None}
    try:
        study = find_study(name)
    except NasError as error:
        return nothing | {"error": str(error)}
    limits = {c.quantity.objective.name: c.at_most for c in study.constraints}
    title = (_from_package(name).__doc__ or name).strip().splitlines()[0]
    return nothing | {
        "title": title,
        "objectives": [
            {**asdict(o.objective), "counted": isinstance(o, CountedObjective)} for o in study.objectives
        ],
        "constraints": [
            {"name": quantity, "unit": o.objective.unit, "at_most": limits.get(quantity)}
            for quantity, o in limitable(study).items()
        ],
        "defaults": {"evaluations": study.evaluations, "seed": study.seed},
        "changeable": list(study.changeable),
        "needs": {"data": stable_repr(study.data), "intended_use": study.intended_use},
        "uses_knowledge": uses_knowledge(study.strategy),
    }


def study_packages() -> list[str]:
    """Return the packages that hold the operator's studies."""
    named = os.environ.get(STUDY_PACKAGES)
    if named is None:
        return [_DEFAULT_PACKAGE] if importlib.util.find_spec(_DEFAULT_PACKAGE) is not None else []
    return [package.strip() for package in named.split(",") if package.strip()]


def _modules(package: str) -> list[str]:
    advice = f"correct the package, or its name in {STUDY_PACKAGES}"
    with failing_as(CatalogError, f"the studies in {package!r} can't be listed", advice):
        paths = importlib.import_module(package).__path__
    return [module.name for module in pkgutil.iter_modules(paths)]


def _from_package(name: str) -> ModuleType:
    for package in study_packages():
        if name in _modules(package):
            with failing_as(CatalogError, f"{package}/{name}.py can't be imported", "correct the file"):
                return importlib.import_module(f"{package}.{name}")
    raise CatalogError(
        f"there is no study {name!r}: the studies are {study_names()}; a file of your own is named with its "
        "path, ending in .py."
    )


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise CatalogError(f"there is no file {path}: name a Python file that defines study().")
    name = path.stem if _is_free(path) else f"study_{digest(str(path.resolve()))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as `python file.py` does, so that a study can import its neighbours
    with failing_as(CatalogError, f"{path} can't be imported", "correct the file"):
        spec.loader.exec_module(module)
    return module


def _is_free(path: Path) -> bool:
    """Whether the file's name is the name of no other module."""
    try:
        known = importlib.util.find_spec(path.stem)
    except (ImportError, ValueError):
        return True
    return known is None or known.origin in (str(path), str(path.resolve()))
