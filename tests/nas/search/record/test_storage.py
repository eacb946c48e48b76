from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import optuna
import pytest
from fakes import NearestSurrogate, grid_evaluate, grid_problem

from nas.errors import DamagedFileError, NasError, RunDirectoryError
from nas.search import SurrogateSearch
from nas.search.loop import search
from nas.search.record import storage as storage_module
from nas.search.record.storage import open_study, read_study, without_password

PROBLEM = grid_problem()
OURS = SurrogateSearch(NearestSurrogate, num_startup=4, batch_size=4)


def filled(path: Path, evaluations: int = 6) -> optuna.Study:
    study = open_study(path, "s", PROBLEM.objectives, OURS.sampler(PROBLEM, 0))
    search(
        study, PROBLEM, lambda a: grid_evaluate(PROBLEM, a), evaluations=evaluations, on_trial=lambda _: None
    )
    return study


def close(study: optuna.Study) -> None:
    """Let go of the file, so that the write-ahead log is merged into it."""
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def test_optuna_reads_the_database_as_it_is(tmp_path: Path) -> None:
    filled(tmp_path / "study.db")
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert len(study.trials) == 6
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_opening_again_keeps_the_trials(tmp_path: Path) -> None:
    before = [(t.params, t.values) for t in filled(tmp_path / "study.db").trials]
    again = open_study(tmp_path / "study.db", "s", PROBLEM.objectives, None)
    assert [(t.params, t.values) for t in again.trials] == before


def test_the_database_is_in_write_ahead_mode(tmp_path: Path) -> None:
    filled(tmp_path / "study.db")
    with sqlite3.connect(tmp_path / "study.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    connection.close()


@pytest.mark.parametrize("keep", [100, 5000, 0.5, 0.95])
def test_a_truncated_database_is_a_sentence_and_left_alone(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "study.db"
    close(filled(path))
    content = path.read_bytes()
    cut = content[: int(keep * len(content)) if keep < 1 else int(keep)]
    for leftover in tmp_path.glob("study.db*"):
        leftover.unlink()
    path.write_bytes(cut)
    with pytest.raises(DamagedFileError, match="damaged") as caught:
        open_study(path, "s", PROBLEM.objectives, None)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == cut


def test_scrambled_pages_are_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    close(filled(path))
    content = bytearray(path.read_bytes())
    for leftover in tmp_path.glob("study.db*"):
        leftover.unlink()
    content[4096 : 4096 * 8] = b"\x5a" * (4096 * 7)
    path.write_bytes(bytes(content))
    with pytest.raises(DamagedFileError):
        open_study(path, "s", PROBLEM.objectives, None)


def test_a_text_file_is_a_damaged_database(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("trial,accuracy\n" * 100)
    with pytest.raises(DamagedFileError):
        open_study(tmp_path / "study.db", "s", PROBLEM.objectives, None)


def test_a_database_that_was_only_created_is_an_empty_study(tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    assert open_study(tmp_path / "study.db", "s", PROBLEM.objectives, None).trials == []


def test_a_place_that_can_not_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError) as caught:
        open_study(tmp_path / "file" / "study.db", "s", PROBLEM.objectives, None)
    assert "\n" not in str(caught.value)


def test_a_directory_in_the_place_of_the_database_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "study.db").mkdir()
    with pytest.raises(NasError):
        open_study(tmp_path / "study.db", "s", PROBLEM.objectives, None)


@pytest.mark.parametrize("name", ["a space", "per%cent", "umläut", "quest?ion", "ha#sh"])
def test_any_directory_name_will_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "study.db"
    before = len(filled(path, 3).trials)
    assert path.exists()
    assert len(open_study(path, "s", PROBLEM.objectives, None).trials) == before == 3


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:s3cret@db.example.org:5433/nas?sslmode=require",
        "postgresql+psycopg://me@db.example.org:5433/nas?sslmode=require&password=s3cret",
    ],
)
def test_a_url_is_shown_without_its_password_and_else_unchanged(url: str) -> None:
    shown = without_password(url)
    assert shown == "postgresql+psycopg://me@db.example.org:5433/nas?sslmode=require"
    assert without_password(shown) == shown


def unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make SQLite see every directory as one on a medium that can't be written."""
    monkeypatch.setattr(storage_module.os, "access", lambda _path, mode: mode != os.W_OK)


def test_who_reads_needs_no_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "per%cent" / "study.db"
    close(filled(path))
    before = path.read_bytes()
    unwritable(monkeypatch)
    study = read_study(path, "s")
    assert study is not None
    assert len(study.trials) == 6
    with pytest.raises(optuna.exceptions.StorageInternalError):
        study.set_user_attr("x", 1)
    assert [p.name for p in path.parent.iterdir()] == ["study.db"]
    assert path.read_bytes() == before


def test_a_log_that_was_not_merged_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_elsewhere = filled(tmp_path / "study.db")
    unwritable(monkeypatch)
    study = read_study(tmp_path / "study.db", "s")
    assert study is not None
    assert len(study.trials) == len(open_elsewhere.trials) == 6


def test_who_reads_does_not_wait_for_who_writes(tmp_path: Path) -> None:
    close(filled(tmp_path / "study.db"))
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        study = read_study(tmp_path / "study.db", "s")
        assert study is not None
        assert len(study.trials) == 6


def test_a_database_that_another_process_locks_is_said_to_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "_READER_WAITS_S", 0.05)
    close(filled(tmp_path / "study.db", 3))
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as owner:
        owner.execute("PRAGMA locking_mode=EXCLUSIVE")
        owner.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RunDirectoryError, match="is locked by another process") as caught:
            read_study(tmp_path / "study.db", "s")
    assert "free some space" not in str(caught.value)


def test_a_study_that_is_only_just_being_made_is_none_yet(tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    assert read_study(tmp_path / "study.db", "s") is None
    close(filled(tmp_path / "other.db", 3))
    assert read_study(tmp_path / "other.db", "another name") is None
