"""Who may import whom. Imports inside functions count, those for type checking alone don't."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT: dict[str, set[str]] = {
    "nas": set(),
    "search_spaces": {"nas"},
    "surrogates": {"nas"},
    "studies": {"nas", "search_spaces", "surrogates"},
}
ABOVE_ALL = {"__init__", "__main__", "testing"}
"""Files of ``nas`` that may import anything, and that nothing imports."""


def documented_order() -> list[str]:
    """Return the rows of the table in docs/architecture.md, left to right and top to bottom."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text[text.index("| row |") :].split("\n\n")[0]
    return [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]


@functools.cache
def imported(path: Path) -> tuple[str, ...]:
    """Return the full names of imported modules; of ``from a import b``, ``a.b``."""
    return tuple(find_imported(path))


@functools.cache
def calls_in(path: Path) -> tuple[tuple[str, str], ...]:
    """Return what a file calls: names of functions, and calls as they are written."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return tuple((ast.unparse(call.func), ast.unparse(call)) for call in calls)


def find_imported(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(package: str) -> dict[str, Path]:
    """Return the files of a package by dotted name."""
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def resolved(name: str, known: dict[str, Path]) -> str | None:
    """Return the longest beginning of a dotted name that is a module of ours."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def unit_of(module: str) -> str:
    """Return the file or folder directly in ``nas`` that a module belongs to."""
    return module.partition(".")[2].partition(".")[0] or "__init__"


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    forbidden = MAY_IMPORT.keys() - MAY_IMPORT[package] - {package}
    forbidden |= {"tests", "benchmarks"}
    guilty = {
        (str(path), name)
        for path in (ROOT / package).rglob("*.py")
        for name in imported(path)
        if name.partition(".")[0] in forbidden
    }
    assert not guilty


def test_every_file_of_nas_has_its_row() -> None:
    units = {
        path.relative_to(ROOT / "nas").parts[0].removesuffix(".py") for path in (ROOT / "nas").rglob("*.py")
    }
    assert units - {"__init__", "__main__"} == set(documented_order())


def test_a_file_imports_only_from_rows_above_its_own() -> None:
    order = {name: row for row, name in enumerate(documented_order())}
    known = modules("nas")
    guilty = []
    for module, path in known.items():
        unit = unit_of(module)
        for name in imported(path):
            target = resolved(name, known)
            if target is None or unit in ABOVE_ALL:
                continue
            other = unit_of(target)
            if other != unit and (other in ABOVE_ALL or order[other] >= order[unit]):
                guilty.append(f"{module} imports {target}")
    assert not guilty


def test_no_modules_import_each_other_in_a_cycle() -> None:
    known = modules("nas")
    edges = {
        module: {
            target
            for name in imported(path)
            if (target := resolved(name, known)) not in (None, module, "nas")
        }
        for module, path in known.items()
        if module != "nas"
    }
    waiting = dict(edges)
    while ready := [module for module, targets in waiting.items() if not targets & waiting.keys()]:
        for module in ready:
            del waiting[module]
    assert not waiting, f"a cycle among {sorted(waiting)}"


def test_values_know_nothing_of_torch() -> None:
    for name in ("errors", "files", "choices", "space", "objective", "pareto"):
        tops = {imported_name.partition(".")[0] for imported_name in imported(ROOT / "nas" / f"{name}.py")}
        assert not tops & {"torch", "optuna", "onnxruntime", "pymoo"}, name


BETWEEN_PROCESSES = ROOT / "nas" / "executors" / "messages.py"
"""What goes between a run's process and its workers."""
IN_WORKERS = ROOT / "nas" / "executors" / "worker.py"
"""What is done in their processes, which belong to ``nas``."""


def test_the_library_never_prints_and_adds_no_handlers() -> None:
    for path in (ROOT / "nas").rglob("*.py"):
        if path.name in ("cli.py", "terminal.py") or path.parent.name == "commands" or path == IN_WORKERS:
            continue
        names = {name for name, _ in calls_in(path)}
        assert not {"print", "logging.basicConfig"} & names, path
        assert not [name for name in names if name.endswith(".addHandler")], path


def test_type_checkers_of_users_read_our_types() -> None:
    assert (ROOT / "nas" / "py.typed").exists()  # PEP 561


def test_nothing_is_unpickled_but_between_the_processes_of_a_run() -> None:
    for path in (ROOT / "nas").rglob("*.py"):
        if path == BETWEEN_PROCESSES:
            continue
        assert not {"pickle", "dill", "joblib"} & {name.partition(".")[0] for name in imported(path)}, path
        loads = [call for name, call in calls_in(path) if name == "torch.load"]
        assert all("weights_only=True" in call for call in loads), path


KNOW_CLASSES = ("nas/tasks/", "nas/data/", "nas/evaluation/quality/", "nas/testing/")
"""Where tasks, data and qualities are, and the contracts that try them with small networks."""
OF_CLASSES = re.compile(r"num_classes|class_names|cross_entropy|CrossEntropy|\blogits\b|argmax\((dim=)?1\)")


def test_only_tasks_data_and_qualities_know_what_a_class_is() -> None:
    files = {path: path.relative_to(ROOT).as_posix() for path in (ROOT / "nas").rglob("*.py")}
    guilty = {
        name: found.group()
        for path, name in files.items()
        if not name.startswith(KNOW_CLASSES) and (found := OF_CLASSES.search(path.read_text()))
    }
    assert not guilty
