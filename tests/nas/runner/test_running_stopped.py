"""Runs that were stopped or damaged, and the same command again."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from fakes import Listener, digests, run_in, tiny_study
from optuna.trial import TrialState
from run_folders import PAID, comparable, copy_run, trials, winner_folders

from nas import (
    Recipe,
    Winners,
)
from nas.errors import (
    DamagedFileError,
    RunDirectoryError,
    StudyChangedError,
)
from nas.report.results import Results


class StopError(KeyboardInterrupt):
    """As sudden as Ctrl-C."""


class StopsAt(Listener):
    """Stops the run after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def advance(self, note: str) -> None:
        super().advance(note)
        self._left -= 1
        if self._left == 0:
            raise StopError


@pytest.mark.parametrize("steps", [1, 7, 9])
def test_a_run_stopped_anywhere_ends_as_one_that_was_not(tiny_run: Path, tmp_path: Path, steps: int) -> None:
    """Two epochs, six evaluations, two winners and a measurement are eleven steps: in each of the three stages."""
    with pytest.raises(StopError):
        run_in(tiny_study(), tmp_path / "run", StopsAt(steps))
    results = run_in(tiny_study(), tmp_path / "run")
    assert digests(tmp_path / "run", *PAID) == digests(tiny_run, *PAID)
    assert trials(tmp_path / "run") == trials(tiny_run)
    assert comparable(results) == comparable(Results.read(tiny_run / "report.json"))


@pytest.mark.parametrize(
    "damage", ["folder", "model.onnx", "model.safetensors", "finished.json", "architecture.json"]
)
def test_a_winner_that_lost_files_is_remade(tiny_run: Path, tiny_copy: Path, damage: str) -> None:
    folder = winner_folders(tiny_copy)[0]
    if damage == "folder":
        shutil.rmtree(folder)
    else:
        (folder / damage).unlink()
    run_in(tiny_study(), tiny_copy)
    assert digests(tiny_copy, *PAID) == digests(tiny_run, *PAID)
    assert (folder / "README.md").exists()


def test_fine_tuning_stopped_and_changed_begins_anew(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise StopError

    other = Winners(count=1, recipe=Recipe(epochs=2, batch_size=32, learning_rate=2e-3))
    clean, stopped = (copy_run(tiny_run, tmp_path / name) for name in ("clean", "stopped"))
    for path in (clean, stopped):
        shutil.rmtree(path / "winners")
    with monkeypatch.context() as patched:
        patched.setattr("nas.runner.finishing.export", stop)
        with pytest.raises(StopError):
            run_in(tiny_study(), stopped)
    for path in (clean, stopped):
        run_in(tiny_study(winners=other), path)
    assert digests(stopped / "winners", "*.safetensors", "*.onnx") == digests(
        clean / "winners", "*.safetensors", "*.onnx"
    )


def test_damaged_supernet_weights_are_told_and_the_advice_helps(tiny_run: Path, tiny_copy: Path) -> None:
    weights = tiny_copy / "supernet" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DamagedFileError, match="delete it") as caught:
        run_in(tiny_study(), tiny_copy)
    assert "\n" not in str(caught.value)
    weights.unlink()
    run_in(tiny_study(), tiny_copy)
    assert digests(tiny_copy, *PAID) == digests(tiny_run, *PAID)


@pytest.mark.parametrize("name", ["run.json", "supernet/training.json", "winners/measurements.json"])
def test_a_damaged_json_file_is_told_and_the_advice_helps(tiny_run: Path, tiny_copy: Path, name: str) -> None:
    (tiny_copy / name).write_text('{"half')
    with pytest.raises(DamagedFileError, match="delete it"):
        run_in(tiny_study(), tiny_copy)
    (tiny_copy / name).unlink()
    run_in(tiny_study(), tiny_copy)
    assert digests(tiny_copy, *PAID) == digests(tiny_run, *PAID)


def test_trials_of_another_supernet_are_not_mixed(tiny_run: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    run_in(tiny_study(seed=1), mixed)
    for name in ("run.json", "supernet"):
        source, target = tiny_run / name, mixed / name
        if source.is_dir():
            shutil.rmtree(target)
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    with pytest.raises(StudyChangedError, match="another supernet"):
        run_in(tiny_study(), mixed)


@pytest.mark.parametrize("writes", [0, 5, 14, 24])
def test_a_disk_that_fills_up_is_one_sentence_and_nothing_is_lost(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    sync, left = os.fsync, writes

    def filling(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", filling)
        with pytest.raises(RunDirectoryError, match="No space left on device") as caught:
            run_in(tiny_study(), tmp_path / "run")
    assert "\n" not in str(caught.value)
    run_in(tiny_study(), tmp_path / "run")
    assert digests(tmp_path / "run", *PAID) == digests(tiny_run, *PAID)


def test_a_database_that_can_not_grow_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas.search.record import storage

    relax = storage.write_ahead

    def full(connection: object, record: object) -> None:
        relax(connection, record)
        connection.execute("PRAGMA max_page_count=31")  # type: ignore[attr-defined]

    with monkeypatch.context() as patched:
        patched.setattr(storage, "write_ahead", full)
        with pytest.raises(RunDirectoryError, match=r"study\.db can't be written .*full") as caught:
            run_in(tiny_study(evaluations=40), tmp_path / "run")
    assert "\n" not in str(caught.value)
    results = run_in(tiny_study(), tmp_path / "run")
    assert len(results.values) >= 6
    assert {state for _, state, _, _ in trials(tmp_path / "run")} <= {TrialState.COMPLETE, TrialState.RUNNING}
