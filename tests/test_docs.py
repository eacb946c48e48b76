"""What the documentation promises exists, and what exists is documented."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

import nas.errors
from nas import Accuracy, Flops, LatencyMs, Macs, NumParams, WeightBytes
from nas.errors import NasError
from nas.evaluation import EnergyMj, ExpectedFlops, ModelledGap8Ms, PeakMemory
from nas.report.results import FILE_BYTES

ROOT = Path(__file__).parents[1]
PACKAGES = ("nas", "search_spaces", "surrogates", "studies")
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md")] if "runs" not in path.parts)
COSTS = (
    *(Macs(), Flops(), NumParams(), WeightBytes()),
    *(LatencyMs(), PeakMemory(), ExpectedFlops(), EnergyMj(), ModelledGap8Ms()),
)
OBJECTIVES = [o.objective for o in (Accuracy(), *COSTS)]


def docstrings(path: Path) -> list[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, documented)]
    return [text for node in nodes if (text := ast.get_docstring(node))]


def cited() -> set[str]:
    """Return every "Lastname YEAR" in a docstring or comment."""
    keys = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            comments = [line.partition("#")[2] for line in path.read_text().splitlines()]
            for text in [*docstrings(path), *comments]:
                keys |= {" ".join(m.split()) for m in re.findall(r"\b[A-Z][a-z]+\s+(?:19|20)\d\d\b", text)}
    return keys


def test_every_cited_paper_is_in_the_references() -> None:
    text = (ROOT / "docs" / "references.md").read_text()
    listed = set(re.findall(r"^\*\*([A-Z][a-z]+ \d{4})\*\*", text, flags=re.MULTILINE))
    assert cited()
    assert cited() <= listed
    assert listed <= cited(), "a reference that nothing cites"


@pytest.mark.parametrize("objective", [*OBJECTIVES, FILE_BYTES], ids=lambda o: o.name)
def test_every_objective_has_its_heading(objective: nas.Objective) -> None:
    headings = (ROOT / "docs" / "objectives.md").read_text().splitlines()
    assert f"## {objective.name} ({objective.unit or 'no unit'})" in headings


def test_every_error_is_in_the_tree_and_is_a_builtin_too() -> None:
    tree = nas.errors.__doc__ or ""
    errors = [e for e in vars(nas.errors).values() if isinstance(e, type) and issubclass(e, NasError)]
    assert len(errors) > 5
    for error in errors:
        assert error.__name__ in tree
        if error is not NasError:
            builtin = error.__bases__[1]
            assert builtin.__module__ == "builtins"
            assert f"{error.__name__} ({builtin.__name__})" in tree


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, f"{page.name} links to {target}"


def code_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if code_blocks(p)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_examples_are_python_and_import_what_exists(page: Path) -> None:
    for block in code_blocks(page):
        for node in ast.walk(ast.parse(block)):
            if not isinstance(node, ast.ImportFrom) or (node.module or "").partition(".")[0] not in PACKAGES:
                continue
            try:
                module = importlib.import_module(node.module or "")
            except ModuleNotFoundError:
                made = f"# {(node.module or '').replace('.', '/')}.py"
                assert any(made in other for other in code_blocks(page)), f"{page.name}: {ast.unparse(node)}"
                continue
            for alias in node.names:
                assert hasattr(module, alias.name), f"{page.name}: {ast.unparse(node)}"


def test_every_public_name_is_documented() -> None:
    for name in nas.__all__:
        assert (getattr(nas, name).__doc__ or "").strip(), name
