"""What several commands take."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nas.commands.options import existing_run, import_from_here, read_limits, refuse_local_only
from nas.errors import RunDirectoryError, ServiceError, StudyError


def test_limits_are_numbers_by_name_and_one_of_each() -> None:
    assert read_limits([]) == {}
    assert read_limits(["macs=2e6", " latency_ms = 5 "]) == {"macs": 2e6, "latency_ms": 5.0}
    with pytest.raises(StudyError, match="--limit limits 'macs' twice"):
        read_limits(["macs=2e6", " macs =2e6"], "--limit")


@pytest.mark.parametrize("text", ["", "macs", "macs=", "macs=many", "=", "macs=1=2"])
def test_a_limit_without_a_number_is_a_sentence_that_names_its_option(text: str) -> None:
    with pytest.raises(StudyError, match=r"--limit is .* write NAME=VALUE with a number") as caught:
        read_limits(["flops=1", text], "--limit")
    assert repr(text) in str(caught.value)


def test_options_of_this_machine_are_refused_by_the_name_that_was_typed() -> None:
    refuse_local_only(out=None, warm_start=None)
    for value in ("x", 0, False):  # whatever was given
        with pytest.raises(ServiceError, match="--warm-start is for runs of this machine"):
            refuse_local_only(out=None, warm_start=value)


def test_a_run_directory_is_one_that_holds_a_run(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(RunDirectoryError, match="is no run directory: name one that 'nas run' made"):
            existing_run(path)
    (tmp_path / "run.json").touch()
    assert existing_run(tmp_path) == tmp_path


def test_the_current_folder_is_imported_from_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["elsewhere"])
    for _ in range(2):
        import_from_here()
    assert sys.path == [os.getcwd(), "elsewhere"]


def test_a_current_folder_that_is_gone_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(sys, "path", ["elsewhere"])
    import_from_here()
    assert sys.path == ["elsewhere"]
