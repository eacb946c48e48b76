from __future__ import annotations

import shutil
from pathlib import Path

from run_folders import copy_run

from nas.service.runs import Runs
from nas.service.store import Run


def known_run(name: str) -> Run:
    return Run(name, "tiny", {}, 1, "cpu", "token", "finished", 0.0)


def test_whoever_looks_at_a_run_looks_through_the_same_view_until_many_others_were_looked_at(
    tiny_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny").symlink_to(tiny_run)
    runs = Runs(tmp_path)
    view = runs.view(known_run("tiny"))
    assert view.snapshot().rows
    assert runs.view(known_run("tiny")) is view
    for number in range(100):
        runs.view(known_run(f"other-{number}"))
    again = runs.view(known_run("tiny"))
    assert again is not view
    assert again.snapshot().rows == view.snapshot().rows


def test_a_directory_that_was_deleted_is_forgotten_and_a_new_run_there_is_read(
    tiny_run: Path, tmp_path: Path
) -> None:
    path = copy_run(tiny_run, tmp_path / "tiny")
    view = Runs(tmp_path).view(known_run("tiny"))
    rows = view.snapshot(max_age_s=0).rows
    shutil.rmtree(path)
    assert view.snapshot(max_age_s=0).rows == ()
    copy_run(tiny_run, path)
    assert view.snapshot(max_age_s=0).rows == rows
