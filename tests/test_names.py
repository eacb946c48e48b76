"""How functions are named: by a verb and its object, and predicates alone by a participle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nas", "surrogates", "studies", "benchmarks")
_PARTICIPLE = re.compile(
    "begun|built|chosen|done|drawn|found|given|held|kept|known|left|lost|made|met|seen|sent|spent|taken|told|.*ed"
)
_VERBS = frozenset(("embed", "feed", "need", "seed", "speed"))
"""They end like participles."""
_PREDICATES = ("bool", "bool | None", "NDArray[np.bool_]")


def _list_functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [ast.unparse(decorator) for decorator in node.decorator_list]
            if not any("property" in name for name in names):  # these are read like attributes
                yield node


def _is_participle(name: str) -> bool:
    first = name.strip("_").split("_")[0]
    return _PARTICIPLE.fullmatch(first) is not None and first not in _VERBS


@pytest.mark.parametrize("package", PACKAGES)
def test_a_function_that_is_no_predicate_is_named_by_what_it_does(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{function.lineno}: {function.name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for function in _list_functions(ast.parse(path.read_text()))
        if _is_participle(function.name)
        and (function.returns is None or ast.unparse(function.returns) not in _PREDICATES)
    ]
    assert found == []
