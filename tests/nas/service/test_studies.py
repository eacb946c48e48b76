from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nas.errors import CatalogError
from nas.service import studies
from nas.service.studies import Studies


def test_a_catalogue_that_cant_be_listed_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_STUDIES", "no_such_package.studies")
    with pytest.raises(CatalogError, match="No module named 'no_such_package'"):
        Studies().all()


def test_a_catalogue_that_takes_too_long_says_so_and_not_what_a_study_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loops = "import sys, time; print('hello', file=sys.stderr, flush=True); time.sleep(60)"
    real = subprocess.run
    monkeypatch.setattr(studies, "_PATIENCE_S", 1)
    monkeypatch.setattr(subprocess, "run", lambda _command, **how: real([sys.executable, "-c", loops], **how))
    with pytest.raises(CatalogError, match="it took longer than 1 s") as told:
        Studies().all()
    assert "hello" not in str(told.value)


def test_a_link_that_leads_nowhere_as_an_editor_makes_beside_a_file_hides_no_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "studies_edited"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / ".#mine.py").symlink_to("ann@laptop.4711")  # as Emacs does while a file isn't saved
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("NAS_STUDIES", "studies_edited")
    assert Studies().all() == []
