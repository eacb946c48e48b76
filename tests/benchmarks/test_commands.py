"""No name that a benchmark imports is gone, and each says what it does before it does anything."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "benchmarks").rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_is_imported_and_every_command_explains_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(name_of(path))
    if 'if __name__ == "__main__":' not in path.read_text():
        return
    assert "parse" in path.read_text(), f"{path} would run: let it parse its arguments first"
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as caught:
        module.main()
    assert caught.value.code == 0
    assert module.__doc__ is not None
    assert module.__doc__.split(":")[0].split()[0] in capsys.readouterr().out
