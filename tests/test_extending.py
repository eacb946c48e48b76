"""The page on extending is true: each kind of part works from a folder outside of the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```python\n# (?P<path>\S+\.py)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all files of the page, and nothing else."""
    folder = tmp_path_factory.mktemp("outside")
    for block in _BLOCK.finditer((ROOT / "docs" / "extending.md").read_text()):
        path = folder / block["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block["code"])
    run_python(folder, "make_digits.py")
    return folder


def run_python(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_part_keeps_its_contract(folder: Path) -> None:
    options = ("-q", "-p", "no:cacheprovider", "--rootdir=.", "-W", "error")
    assert " passed" in run_python(folder, "-m", "pytest", *options, "parts/test_parts.py")


def test_the_study_of_all_parts_is_one(folder: Path) -> None:
    code = "from nas.catalog import find_study; print(find_study('parts/plain.py').name)"
    assert run_python(folder, "-c", code) == "plain\n"
