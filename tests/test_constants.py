"""Every number that a module gives a name has a reason beside it: a string below it, or a comment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

NAS = Path(__file__).parents[1] / "nas"
FOLDERS = ("search", "runner", "training", "evaluation", "report", "export", "commands", "study", "service")


def numbers_without_a_reason(path: Path) -> Iterator[str]:
    """Yield the names of constants of numbers that nothing is said of."""
    text = path.read_text()
    lines, body = text.splitlines(), ast.parse(text).body
    for statement, below in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
        values = [n.value for n in ast.walk(statement.value) if isinstance(n, ast.Constant)]
        is_number = any(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        is_told = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        last = statement.end_lineno or statement.lineno
        has_comment = "#" in lines[last - 1] or lines[statement.lineno - 2].startswith("#")
        if is_number and not (is_told or has_comment) and all(n.lstrip("_").isupper() for n in names):
            yield ", ".join(names)


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_every_number_has_a_reason(folder: str) -> None:
    paths = (NAS / folder).rglob("*.py") if folder else NAS.glob("*.py")
    found = {path.name: list(numbers_without_a_reason(path)) for path in paths}
    assert not {name: numbers for name, numbers in found.items() if numbers}
