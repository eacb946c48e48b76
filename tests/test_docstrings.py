"""How docstrings speak."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nas", "search_spaces", "surrogates", "studies", "benchmarks")
_BEGINS_WITHOUT_A_NOUN = re.compile(r"^\s+\w+: Of ", re.MULTILINE)
"""An argument that is described as "Of the split" leaves the reader to guess what it is of the split."""


@pytest.mark.parametrize("package", PACKAGES)
def test_what_an_argument_is_begins_with_a_noun(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group().strip()}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for match in _BEGINS_WITHOUT_A_NOUN.finditer(path.read_text())
    ]
    assert found == []
