from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Command


def test_studies_are_listed(nas_command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert nas_command("studies") == 0
    assert "digits" in capsys.readouterr().out.split()


def test_packages_in_the_current_folder_are_found(
    nas_command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "studies_of_mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").touch()
    monkeypatch.setenv("NAS_STUDIES", "studies_of_mine")
    monkeypatch.chdir(tmp_path)
    assert nas_command("studies") == 0
    assert capsys.readouterr().out.split() == ["first"]
