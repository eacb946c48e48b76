"""What a search writes into a database, and what it sees of others there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from fakes import NearestSurrogate, grid_evaluate, grid_problem
from optuna.trial import FrozenTrial, TrialState

from nas.objective import Measurement
from nas.search import OptunaSampler, SurrogateSearch
from nas.search.loop import Evaluate, search
from nas.search.record.recorder import write_together
from nas.search.record.storage import open_study
from nas.search.record.trials import ARCHITECTURE, SECONDS
from nas.space import Architecture
from nas.strategy import Strategy

PROBLEM = grid_problem()
OURS = SurrogateSearch(NearestSurrogate, num_startup=4, batch_size=4)


def grid(architecture: Architecture) -> Mapping[str, Measurement]:
    return grid_evaluate(PROBLEM, architecture)


def searched(
    path: Path, strategy: Strategy, *, evaluate: Evaluate = grid, evaluations: int = 8, to_search: bool = True
) -> optuna.Study:
    study = open_study(path, "s", PROBLEM.objectives, strategy.sampler(PROBLEM, 0), to_search=to_search)
    search(study, PROBLEM, evaluate, evaluations=evaluations, on_trial=lambda _: None)
    return study


def stored(path: Path) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=f"sqlite:///{path}")


def content(trial: FrozenTrial) -> list[Any]:
    attributes = {key: value for key, value in trial.user_attrs.items() if key != SECONDS}
    options = list(trial.params.items())
    return [
        trial.number,
        trial.state,
        options,
        trial.distributions,
        trial.values,
        attributes,
        trial.system_attrs,
    ]


@pytest.mark.parametrize("strategy", [OURS, OptunaSampler("TPESampler")], ids=["ours", "Optuna's"])
def test_the_database_holds_what_optuna_alone_would_have_written(tmp_path: Path, strategy: Strategy) -> None:
    study = searched(tmp_path / "ours.db", strategy)
    optunas = searched(tmp_path / "optunas.db", strategy, to_search=False)
    ours = stored(tmp_path / "ours.db")
    assert [content(t) for t in ours.trials] == [content(t) for t in optunas.trials]
    assert [content(t) for t in study.trials] == [content(t) for t in optunas.trials]
    assert study.user_attrs == ours.user_attrs == optunas.user_attrs


def test_what_is_evaluated_and_what_was_told_is_in_the_database_meanwhile(tmp_path: Path) -> None:
    path, seen = tmp_path / "study.db", list[int]()

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        *told, running = stored(path).trials
        assert all(trial.state == TrialState.COMPLETE and trial.values for trial in told)
        assert running.state == TrialState.RUNNING
        assert running.params == dict(architecture)
        assert running.user_attrs[ARCHITECTURE] == architecture.id
        seen.append(len(told))
        return grid(architecture)

    searched(path, OURS, evaluate=evaluate, evaluations=6)
    assert seen == list(range(6))


def test_what_another_program_queues_is_evaluated_next(tmp_path: Path) -> None:
    path, wanted, evaluated = (
        tmp_path / "study.db",
        {"c0": 3, "c1": 3, "c2": 3, "c3": 3},
        list[dict[str, object]](),
    )

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        evaluated.append(dict(architecture))
        if len(evaluated) == 2:
            stored(path).enqueue_trial(wanted)
        return grid(architecture)

    study = searched(path, OptunaSampler("RandomSampler"), evaluate=evaluate)
    assert evaluated[2] == wanted
    assert [content(t) for t in study.trials] == [content(t) for t in stored(path).trials]


def test_studies_that_take_turns_in_one_database_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    other = optuna.create_study(storage=f"sqlite:///{path}", study_name="other")

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        other.ask()
        return grid(architecture)

    study = searched(path, OURS, evaluate=evaluate)
    assert len(other.trials) == 8
    assert [content(t) for t in study.trials] == [content(t) for t in stored(path).trials]
    again = searched(path, OURS, evaluate=evaluate, evaluations=10)
    assert [t.number for t in again.trials] == list(range(10))


def test_what_was_told_before_an_error_is_written(tmp_path: Path) -> None:
    study = open_study(tmp_path / "study.db", "s", PROBLEM.objectives, None, to_search=True)
    trial = study.ask()

    def interrupted() -> None:
        with write_together(study):
            trial.set_user_attr("known", (1, 2))
            study.tell(trial, [1.0, 2.0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    found = stored(tmp_path / "study.db").trials[0]
    assert found.values == [1.0, 2.0]
    assert found.user_attrs == study.trials[0].user_attrs == {"known": [1, 2]}
