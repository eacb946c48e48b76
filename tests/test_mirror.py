"""Tests stand where their modules do, and are named after them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nas", "search_spaces", "surrogates", "studies")
"""What is installed: each of its modules has tests."""
BESIDE = ("benchmarks",)
"""What has tests where there is something to get wrong."""
OF_NO_MODULE = {
    "test_constants.py": "numbers in all modules",
    "test_docs.py": "the documentation speaks of everything",
    "test_docstrings.py": "so do docstrings",
    "test_extending.py": "parts of every kind, as users add them",
    "test_layering.py": "who may import whom, in all packages",
    "test_mirror.py": "this",
    "test_names.py": "how functions are named, in all packages",
    "benchmarks/test_commands.py": "the command lines of all benchmarks",
}
"""What test files are about that are named after no module."""
RUN_BY_NAME = "studies"
"""The package whose modules one file goes through, each as a case of its own."""
FEW_LINES = 3
"""A function of no more lines passes on, or returns a value; a module of such functions needs no tests of its own."""
WITHOUT_TESTS = Path(__file__).parent / "support" / "modules_without_tests.txt"
"""Modules that are tested only through those that use them. It becomes shorter, never longer."""


def paths_of(package: str) -> dict[Path, Path]:
    """Return the files of a package by their path without an ending; a package's own is that of its folder."""
    files = {path.relative_to(ROOT): path for path in sorted((ROOT / package).rglob("*.py"))}
    return {p.parent if p.name == "__init__.py" else p.with_suffix(""): file for p, file in files.items()}


def find_tests(package: str) -> list[Path]:
    """Return the test files of a package, from the folder of tests on."""
    tests = ROOT / "tests"
    return sorted(path.relative_to(tests) for path in (tests / package).rglob("test_*.py"))


def is_named_after(test: Path, module: Path) -> bool:
    """Return whether a test file is ``test_<module>.py`` or ``test_<module>_<subject>.py``, in the module's folder.

    A package's own may also stand in the package.
    """
    name, words = test.stem.removeprefix("test_"), module.name.strip("_")
    beside = test.parent == module.parent or (test.parent == module and (ROOT / module).is_dir())
    return beside and (name == words or name.startswith(f"{words}_"))


def lines_of_longest_function(path: Path) -> int:
    """Return the number of lines, without the docstring."""
    longest = 0
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body:
                longest = max(longest, (body[-1].end_lineno or 0) - body[0].lineno + 1)
    return longest


def has_code(path: Path) -> bool:
    return lines_of_longest_function(path) > FEW_LINES


@pytest.mark.parametrize("package", [*PACKAGES, *BESIDE])
def test_every_test_file_is_named_after_a_module_of_its_folder(package: str) -> None:
    modules = paths_of(package)
    tests = [test for test in find_tests(package) if str(test) not in OF_NO_MODULE]
    lost = [str(test) for test in tests if not any(is_named_after(test, module) for module in modules)]
    assert not lost, (
        "rename it to test_<module>.py or test_<module>_<subject>.py, in the folder of the module"
    )


def test_what_stands_at_the_top_is_of_no_single_module() -> None:
    assert {path.name for path in Path(__file__).parent.glob("test_*.py")} <= OF_NO_MODULE.keys()


def test_every_module_with_code_of_its_own_has_tests_of_its_name() -> None:
    without = set()
    for package in set(PACKAGES) - {RUN_BY_NAME}:
        tests = find_tests(package)
        for module, file in paths_of(package).items():
            if not any(is_named_after(test, module) for test in tests) and has_code(file):
                without.add(str(file.relative_to(ROOT)))
    known = set(WITHOUT_TESTS.read_text().split())
    assert sorted(without - known) == [], (
        "write tests of these modules: the list of those without does not grow"
    )
    assert sorted(known - without) == [], (
        f"these have tests, or are gone: delete them from {WITHOUT_TESTS.name}"
    )


def test_every_study_is_a_case_of_the_tests_of_studies() -> None:
    text = (ROOT / "tests" / RUN_BY_NAME / f"test_{RUN_BY_NAME}.py").read_text()
    assert '@pytest.mark.parametrize("name", study_names())' in text
