from __future__ import annotations

import dataclasses
import sqlite3
from dataclasses import asdict
from pathlib import Path

import numpy as np
import optuna
import pytest
from fakes import grid_evaluate, grid_problem

from nas.files import write_json
from nas.objective import Measurement
from nas.report.results import Results
from nas.runner.directory import RunDirectory
from nas.search.loop import search
from nas.search.record.credibility import credible_front
from nas.search.record.reference_box import ReferenceBox, reference_box
from nas.search.record.storage import open_study
from nas.search.record.trials import (
    ARCHITECTURE,
    MEASUREMENTS,
    REFERENCE,
    complete_trials,
    costs_of,
    distributions,
    keep_prediction,
)
from nas.service.models import Refit
from nas.service.record import Record
from nas.service.runs import RunView, describe_trust
from nas.strategy import Problem


class Guessing(optuna.samplers.RandomSampler):
    """Predicts the same of every trial, as if it had learned from ten."""

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        keep_prediction(study, trial, {"quality": [0.5, 0.4, 0.6]}, 10)


def grow(
    problem: Problem, path: Path, evaluations: int, sampler: optuna.samplers.BaseSampler | None = None
) -> optuna.Study:
    """Go on with a search as a run does, which makes the reference box as soon as it can."""
    directory = RunDirectory(path)
    write_json(
        directory.manifest,
        {
            "study": "grid",
            "space": problem.space.describe(),
            "values": [vars(o) for o in problem.objectives],
        },
    )
    sampler = sampler or optuna.samplers.RandomSampler(seed=0)
    study = open_study(directory.database, "grid", problem.objectives, sampler)

    def evaluate(architecture):  # type: ignore[no-untyped-def]
        if int(architecture.id, 16) % 7 == 0:
            raise ValueError("bad luck")
        return grid_evaluate(problem, architecture)

    def told(_: object) -> None:
        reference_box(study, problem.objectives)

    search(study, problem, evaluate, evaluations=evaluations, on_trial=told)
    return study


def check(record: Record, study: optuna.Study, problem: Problem) -> None:
    trials = complete_trials(study)
    assert [row.number for row in record.rows] == [t.number for t in trials]
    costs = costs_of(problem.objectives, trials)
    assert record.front == np.flatnonzero(problem.front(costs)).tolist()
    box = reference_box(study, problem.objectives)
    assert record.hypervolume == pytest.approx(box.history(costs) if box else [])


@pytest.mark.parametrize("limits", [{}, {"size": 3.0}], ids=["free", "limited"])
def test_it_grows_with_the_study_and_says_what_the_study_says(
    tmp_path: Path, limits: dict[str, float]
) -> None:
    problem = dataclasses.replace(grid_problem(), soft_limits=limits)
    record = Record(RunDirectory(tmp_path))
    assert record.refresh()
    for evaluations in (4, 12, 13, 40):
        study = grow(problem, tmp_path, evaluations)
        assert record.refresh()
        assert len(record.rows) + record.failed == evaluations
        check(record, study, problem)
        study._storage.remove_session()
    assert record.failed > 0


def test_hypervolume_is_in_the_box_of_the_study_as_soon_as_that_is_there(tmp_path: Path) -> None:
    problem = grid_problem()
    record = Record(RunDirectory(tmp_path))
    study = grow(problem, tmp_path, 20)
    stored = study.user_attrs[REFERENCE]
    study.set_user_attr(REFERENCE, None)
    record.refresh()
    assert (record.hypervolume, len(record.front) > 0) == ([], True)
    box = ReferenceBox(np.array(stored[0]) - 1, np.array(stored[1]))  # another than the rows would give
    study.set_user_attr(REFERENCE, [box.best.tolist(), box.worst.tolist()])
    record.refresh()
    costs = costs_of(problem.objectives, complete_trials(study))
    assert record.hypervolume == pytest.approx(box.history(costs))
    study._storage.remove_session()


def test_values_too_good_to_be_true_leave_the_front_when_that_is_seen(tmp_path: Path) -> None:
    problem = grid_problem()
    study = grow(problem, tmp_path, 12)
    study._storage.remove_session()
    record = Record(RunDirectory(tmp_path))
    record.refresh()
    params = problem.space.from_indices(np.zeros((1, 4), dtype=np.int64))[0]
    for number in range(30):  # more than half are absurd for a while, so they are ordinary
        values = {"quality": 1e12 if number < 15 else 1.0, "size": 9.0}
        told = {name: asdict(Measurement(value, 0.0, "", "", 1)) for name, value in values.items()}
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(params),
                distributions=distributions(problem.space),
                values=list(values.values()),
                user_attrs={MEASUREMENTS: told, ARCHITECTURE: params.id},
            )
        )
        study._storage.remove_session()
        record.refresh()
        trials = complete_trials(study)
        costs = costs_of(problem.objectives, trials)
        assert record.front == np.flatnonzero(credible_front(costs, np.zeros(len(costs)))).tolist()
        box = reference_box(study, problem.objectives)
        assert box is None or record.hypervolume == pytest.approx(box.history(costs))
        study._storage.remove_session()
    assert max(record.hypervolume) < 100


def test_the_quality_of_the_latest_refits_is_told(tmp_path: Path) -> None:
    problem = grid_problem()
    grow(problem, tmp_path, 16, Guessing(seed=0))._storage.remove_session()
    view = RunView(tmp_path)
    told = describe_trust(view.snapshot())
    assert told is not None
    assert told.refits == [Refit(name="refit on 10 trials", predictions=told.predictions)]
    assert told.predictions[0].num_trials > 10


def test_rows_never_move(tmp_path: Path) -> None:
    problem = grid_problem()
    record = Record(RunDirectory(tmp_path))
    grow(problem, tmp_path, 11)._storage.remove_session()
    record.refresh()
    before = list(record.rows)
    grow(problem, tmp_path, 20)._storage.remove_session()
    record.refresh()
    assert record.rows[: len(before)] == before


def test_a_finished_run_reads_as_its_report(tiny_run: Path) -> None:
    results = Results.read(tiny_run / "report.json")
    record = Record(RunDirectory(tiny_run))
    record.refresh()
    assert [row.architecture for row in record.rows] == results.ids
    assert record.front == results.front
    row = record.rows[0]
    assert [row.values[o.name].value for o in results.objectives] == results.values[0]
    assert set(row.values) == {"accuracy", "num_params"}


def test_it_cant_write(tiny_copy: Path) -> None:
    record = Record(RunDirectory(tiny_copy))
    record.refresh()
    assert record._study is not None
    with pytest.raises(optuna.exceptions.StorageInternalError) as refused:
        record._study.set_user_attr("broken", True)
    assert "readonly" in str(refused.value.__cause__)


def test_a_database_that_is_only_just_made(tmp_path: Path) -> None:
    problem = grid_problem()
    directory = RunDirectory(tmp_path)
    write_json(directory.manifest, {"study": "grid", "space": problem.space.describe(), "values": []})
    sqlite3.connect(directory.database).close()
    directory.database.touch()
    record = Record(directory)
    assert not record.refresh()
    study = grow(problem, tmp_path, 3)
    assert record.refresh()
    assert len(record.rows) + record.failed == 3
    study._storage.remove_session()
