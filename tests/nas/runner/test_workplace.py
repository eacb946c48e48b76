"""A run whose architectures are evaluated, trained and finished by several processes."""

from __future__ import annotations

import dataclasses
import math
import os
from functools import partial
from pathlib import Path

import optuna
import pytest
import torch
from fakes import AccuracyOfBrokenWorker, Listener, ProcessOfDevice, digests, run_in, tiny_study

from nas import Accuracy, FromScratch, NumParams, Recipe, Study, Trust
from nas.errors import StudyChangedError, WorkerError
from nas.executors import Processes
from nas.runner import run
from nas.runner.directory import RunDirectory, open_record
from nas.runner.workplace import open_workplace
from nas.search import OptunaSampler
from nas.search.guard import broken_workers, tell_of_broken
from nas.search.record.trials import complete_trials, list_paid_trials

CPU = torch.device("cpu")


def uninformed(**changes: object) -> Study:
    """A study whose proposals don't depend on what came out before."""
    return tiny_study(strategy=OptunaSampler("RandomSampler"), **changes)


def record_of(out: Path) -> optuna.Study:
    return open_record(RunDirectory(out))[0]


def found(out: Path) -> dict[object, object]:
    return {tuple(t.params.items()): t.values for t in record_of(out).trials if t.values}


@pytest.mark.parametrize(
    ("study", "jobs"),
    [
        (uninformed(trust=Trust(count=1, recipe=Recipe(epochs=1, batch_size=64))), 1),
        (uninformed(training=FromScratch()), 2),
    ],
    ids=["supernet", "from scratch"],
)
def test_other_processes_find_what_this_one_finds(study: Study, jobs: int, tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    run_in(study, alone)
    run(study, together, training_device=CPU, progress=Listener(), executor=partial(Processes, jobs=jobs))
    assert found(together) == found(alone)
    assert len(list_paid_trials(record_of(together))) == study.evaluations
    models = ("model.safetensors", "trust/*.json")
    assert digests(together, *models) == digests(alone, *models)


def test_devices_are_measured_by_the_process_that_runs_the_study(tmp_path: Path) -> None:
    study = uninformed(objectives=(Accuracy(), ProcessOfDevice()), training=FromScratch())
    results = run(
        study,
        tmp_path,
        training_device=CPU,
        progress=Listener(),
        baselines=True,
        executor=partial(Processes, jobs=1),
    )
    told = [values[1] for values in results.values]
    told += [values[1] for baseline in results.baselines for values in baseline.values]
    assert set(told) == {os.getpid()}
    assert not list((tmp_path / "candidates").rglob("*.pt"))


def test_a_worker_that_judges_wrongly_is_replaced_and_its_trials_are_judged_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.search.guard._CHEAP_S", math.inf)  # whatever else the machine does
    study = uninformed(objectives=(AccuracyOfBrokenWorker(str(tmp_path)), NumParams()))
    out = tmp_path / "run"
    results = run(study, out, training_device=CPU, progress=Listener(), executor=partial(Processes, jobs=2))
    record = record_of(out)
    assert all(t.values[0] < 1 for t in complete_trials(record))
    assert len(list_paid_trials(record)) == study.evaluations
    assert (tmp_path / "broken").read_text() in next(iter(broken_workers(record)))
    assert "a worker died (with exit code 1)" in caplog.text
    assert results.facts["doubts"] == tell_of_broken(record)
    assert "were ended (process" in results.facts["doubts"][0]


def test_a_worker_refuses_another_study_than_the_run_s(tiny_copy: Path) -> None:
    with pytest.raises(StudyChangedError, match="seed was 0 and is now 1"):
        open_workplace(partial(tiny_study, seed=1), tiny_copy, CPU)


def test_a_worker_that_does_not_see_the_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="doesn't see the run directory"):
        open_workplace(tiny_study, tmp_path / "elsewhere", CPU)


def test_a_study_that_can_not_be_sent_is_refused_in_a_sentence(tmp_path: Path) -> None:
    network = tiny_study().network
    study = dataclasses.replace(tiny_study(), network=lambda: network())
    with pytest.raises(WorkerError, match="what workers begin with can't be sent to another process"):
        run(
            study,
            tmp_path / "run",
            training_device=CPU,
            progress=Listener(),
            executor=partial(Processes, jobs=2),
        )
