"""Runs whose trials are on a server."""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path

import pytest
import torch
from command_line import Command
from fakes import Listener, tiny_study
from optuna.trial import FrozenTrial, TrialState
from run_folders import copy_run

from nas import Winners
from nas.errors import NasError, StorageError, StudyChangedError
from nas.executors import Processes
from nas.report.results import Results
from nas.runner import run
from nas.runner.directory import RunDirectory, open_record
from nas.search.stopping import Stopping
from nas.study import Study

CPU = torch.device("cpu")
SECRET = "s3cret"


def run_on(study: Study, path: Path, storage: str | None, listener: Listener | None = None) -> Results:
    return run(study, path, training_device=CPU, progress=listener or Listener(), storage=storage)


def trials(path: Path, storage: str | None = None) -> list[FrozenTrial]:
    return open_record(RunDirectory(path, storage))[0].trials


@pytest.fixture
def secret_url(postgres_url: str) -> str:
    """A URL with a password; the server trusts everybody."""
    return postgres_url.replace("postgres:@", f"postgres:{SECRET}@")


def test_a_run_on_a_server_is_a_run(
    secret_url: str,
    tmp_path: Path,
    nas_command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "run"
    results = run_on(tiny_study(), path, secret_url)
    assert len(results.values) == 6
    assert not (path / "study.db").exists()
    recorded = [(t.number, t.params, t.values) for t in trials(path)]

    for file in path.rglob("*"):
        assert file.is_dir() or SECRET.encode() not in file.read_bytes(), file

    again = run_on(tiny_study(), path, None)  # the directory knows where its trials are
    assert [(t.number, t.params, t.values) for t in trials(path)] == recorded
    assert again.values == results.values

    assert nas_command("status", path) == 0
    assert "6 evaluated, 0 failed" in capsys.readouterr().out
    assert nas_command("front", path, "--json", "--storage", secret_url) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(results.front)

    elsewhere = secret_url.replace("/test_", "/other_")
    with pytest.raises(StudyChangedError, match="--storage names") as caught:
        run_on(tiny_study(), path, elsewhere)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_processes_evaluate_for_a_record_on_a_server(postgres_url: str, tmp_path: Path) -> None:
    study, path = tiny_study(winners=Winners(count=1)), tmp_path / "run"
    executor = partial(Processes, jobs=2)
    run(study, path, training_device=CPU, progress=Listener(), storage=postgres_url, executor=executor)
    found = trials(path)
    assert [t.number for t in found] == list(range(study.evaluations))
    assert all(t.state == TrialState.COMPLETE for t in found)
    assert any(
        one.datetime_complete and next_.datetime_start and next_.datetime_start < one.datetime_complete
        for one, next_ in itertools.pairwise(found)
    )  # at the same time


def test_two_runs_of_one_study_share_a_server_and_nothing_else(postgres_url: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run_on(tiny_study(), tmp_path / name, postgres_url)
    for name in ("one", "two"):
        assert [t.number for t in trials(tmp_path / name)] == list(range(6))


def test_a_server_that_does_not_answer_is_a_sentence_before_anything_is_trained(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://me:{SECRET}@127.0.0.1:9/nas"
    with pytest.raises(StorageError, match="can't be used") as caught:
        run_on(tiny_study(), tmp_path / "run", url)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "supernet").exists()
    assert not (tmp_path / "run" / "storage.json").exists()


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///x.db", "nonsense", "postgresql://x/y"])
def test_another_kind_of_storage_is_a_sentence(tmp_path: Path, url: str) -> None:
    with pytest.raises(StorageError, match=r"postgresql\+psycopg://user@host/database is expected") as caught:
        run_on(tiny_study(), tmp_path / "run", url)
    assert "\n" not in str(caught.value)


def test_a_run_in_a_file_can_not_move_to_a_server(tiny_copy: Path) -> None:
    before = [(t.number, t.params) for t in trials(tiny_copy)]
    with pytest.raises(StudyChangedError, match=r"study\.db"):
        run_on(tiny_study(), tiny_copy, "postgresql+psycopg://me@127.0.0.1:9/nas")
    assert [(t.number, t.params) for t in trials(tiny_copy)] == before


# What else the study says about its search


def test_a_warm_start_is_evaluated_first_and_what_does_not_fit_is_told_before_training(
    tiny_run: Path, tmp_path: Path
) -> None:
    known = {"width": 8, "kernel": 5, "depth": 2, "0.kernel": 3, "1.kernel": 1}
    listener = Listener()
    results = run_on(tiny_study(warm_start=(known,)), tmp_path / "run", None, listener)
    assert trials(tmp_path / "run")[0].params == known
    assert len(results.values) == 6
    with pytest.raises(NasError, match="warm start"):
        run_on(tiny_study(warm_start=({"width": 8},)), tmp_path / "other", None)
    assert not (tmp_path / "other" / "supernet").exists()


def test_a_search_that_ends_early_says_why_in_the_report_and_to_the_listener(
    tiny_run: Path, tmp_path: Path
) -> None:
    path = copy_run(tiny_run, tmp_path / "tiny")
    listener = Listener()
    run_on(tiny_study(evaluations=100), path, None, listener)
    ended = "all 42 architectures of the space are evaluated"
    assert f"search: {ended}" in listener.sentences
    assert f"The search ended because {ended}." in (path / "report.md").read_text()
    assert "Forecast: 100 more evaluations" in (path / "report.md").read_text()
    assert len(trials(path)) >= 42

    before = [(t.number, t.params) for t in trials(path)]
    stopped = tiny_study(evaluations=200, stopping=Stopping(minutes=1e-6))
    run_on(stopped, path, None)
    assert [(t.number, t.params) for t in trials(path)] == before
