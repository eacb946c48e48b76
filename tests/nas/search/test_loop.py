from __future__ import annotations

import dataclasses
import errno
import logging
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from fakes import NearestSurrogate, exact, grid_evaluate, grid_problem
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from nas.errors import EvaluationError, ExportError, OutOfMemoryError, RunDirectoryError, StudyError
from nas.objective import Measurement, Objective
from nas.search import LocalSearch, OptunaSampler, SurrogateSearch
from nas.search.loop import search
from nas.search.models.proposals import History
from nas.search.record.reference_box import reference_box
from nas.search.record.storage import open_study
from nas.search.record.trials import (
    ARCHITECTURE,
    ENDED,
    ERROR,
    MEASUREMENTS,
    REPEATS,
    complete_trials,
    costs_of,
    distributions,
    list_paid_trials,
    measurements_of,
    wall_seconds,
)
from nas.search.stopping import Stopping
from nas.search.strategies.architecture_sampler import HistorySampler
from nas.space import Architecture, IntArray
from nas.strategy import Problem, Strategy

OURS = SurrogateSearch(NearestSurrogate, num_startup=6, batch_size=4)
Evaluate = Callable[[Architecture], Mapping[str, Measurement]]


def memory_study(problem: Problem, sampler: BaseSampler | None = None) -> optuna.Study:
    return optuna.create_study(
        directions=[o.direction for o in problem.objectives], sampler=sampler or RandomSampler(seed=0)
    )


def run(
    study: optuna.Study, problem: Problem, evaluations: int, evaluate: Evaluate | None = None
) -> list[FrozenTrial]:
    """Search, and return the trials that were told of."""
    told: list[FrozenTrial] = []
    judge = evaluate or (lambda architecture: grid_evaluate(problem, architecture))
    search(study, problem, judge, evaluations=evaluations, on_trial=told.append)
    return told


def states(study: optuna.Study) -> list[TrialState]:
    return [trial.state for trial in study.trials]


def params(study: optuna.Study) -> list[dict[str, object]]:
    return [trial.params for trial in study.trials]


class Sequence(BaseSampler):
    """Proposes the given rows, then the last one for ever."""

    def __init__(self, *rows: tuple[int, ...]) -> None:
        self._rows = rows

    def infer_relative_search_space(self, study: object, trial: object) -> dict[str, object]:  # type: ignore[override]
        return {}

    def sample_relative(self, study: object, trial: object, space: object) -> dict[str, object]:  # type: ignore[override]
        return {}

    def sample_independent(self, study: object, trial: FrozenTrial, name: str, distribution: object) -> int:  # type: ignore[override]
        return self._rows[min(trial.number, len(self._rows) - 1)][int(name[1:])]


def test_as_many_evaluations_as_asked_for_each_with_its_record() -> None:
    problem = grid_problem()
    study = memory_study(problem)
    told = run(study, problem, 9)
    assert len(complete_trials(study)) == len(list_paid_trials(study)) == 9
    assert [t.number for t in told] == [t.number for t in study.trials]
    for trial in complete_trials(study):
        architecture = problem.space.architecture(trial.params)
        assert trial.user_attrs[ARCHITECTURE] == architecture.id
        assert measurements_of(trial) == grid_evaluate(problem, architecture)
        assert trial.values == [m.value for m in grid_evaluate(problem, architecture).values()]


def test_more_evaluations_later_go_on_and_fewer_do_nothing() -> None:
    problem = grid_problem()
    study = memory_study(problem)
    run(study, problem, 5)
    assert run(study, problem, 5) == []
    assert run(study, problem, 2) == []
    run(study, problem, 8)
    assert len(list_paid_trials(study)) == 8


def test_a_failing_objective_fails_its_trial_and_the_search_goes_on() -> None:
    problem = grid_problem()
    study = memory_study(problem)

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        if int(architecture.id, 16) % 3 == 0:
            raise ZeroDivisionError("an accident")
        return grid_evaluate(problem, architecture)

    run(study, problem, 20, evaluate)
    failed = [t for t in study.trials if t.state == TrialState.FAIL]
    assert failed
    assert all(t.user_attrs[ERROR] == "ZeroDivisionError: an accident" for t in failed)
    assert all(t.values is None for t in failed)
    assert len(list_paid_trials(study)) == 20
    assert len(complete_trials(study)) == 20 - len(failed)


@pytest.mark.parametrize(
    "bad",
    [
        {"quality": exact(math.nan), "size": exact(1.0)},
        {"quality": exact(1.0), "size": exact(math.inf)},
        {"quality": exact(-math.inf), "size": exact(1.0)},
        {"quality": Measurement(1.0, math.nan, "", "", 1), "size": exact(1.0)},
        {"quality": exact(1.0)},
        {"quality": exact(1.0), "size": Measurement(1.0, 0.0, "", torch.device("cpu"), 1)},  # type: ignore[arg-type]
        {},
        None,
    ],
)
def test_no_finite_number_is_a_failure_never_a_value(bad: Mapping[str, Measurement]) -> None:
    problem = grid_problem()
    study = memory_study(problem)
    evaluated = 0

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        nonlocal evaluated
        evaluated += 1
        return bad if evaluated == 3 else grid_evaluate(problem, architecture)

    run(study, problem, 6, evaluate)
    assert states(study)[2] == TrialState.FAIL
    assert study.trials[2].user_attrs[ERROR]
    assert len(complete_trials(study)) == 5
    assert all(math.isfinite(v) for t in complete_trials(study) for v in t.values)


def test_an_extra_measurement_that_is_not_an_objective_may_not_be_nan_in_the_record() -> None:
    problem = grid_problem()
    study = memory_study(problem)
    energies = iter([3.0, np.nan])
    run(study, problem, 2, lambda a: {**grid_evaluate(problem, a), "energy_mj": exact(next(energies), "mJ")})
    assert study.trials[0].user_attrs[MEASUREMENTS]["energy_mj"]["value"] == 3.0
    assert states(study) == [TrialState.COMPLETE, TrialState.FAIL]
    assert "energy_mj" in study.trials[1].user_attrs[ERROR]


def test_scalars_of_numpy_and_torch_are_kept_in_a_file(tmp_path: Path) -> None:
    problem = grid_problem()
    study = open_study(tmp_path / "study.db", "s", problem.objectives, RandomSampler(seed=0))

    def evaluate(_: Architecture) -> Mapping[str, Measurement]:
        number = np.float32(0.5)
        return {
            "quality": Measurement(number, number, "", "", np.int64(3)),  # type: ignore[arg-type]
            "size": Measurement(torch.tensor(2.0), torch.tensor(0), "", "", torch.tensor(1)),  # type: ignore[arg-type]
        }

    run(study, problem, 2, evaluate)
    for trial in study.trials:
        assert measurements_of(trial) == {
            "quality": Measurement(0.5, 0.5, "", "", 3),
            "size": Measurement(2.0, 0.0, "", "", 1),
        }


def test_the_first_ten_failing_is_an_error_that_says_why() -> None:
    problem = grid_problem()
    study = memory_study(problem)

    def evaluate(_: Architecture) -> Mapping[str, Measurement]:
        raise OSError("no such device")

    with pytest.raises(EvaluationError, match=r"first 10 evaluations all failed.*no such device") as caught:
        run(study, problem, 50, evaluate)
    assert "\n" not in str(caught.value)
    assert states(study) == [TrialState.FAIL] * 10
    assert list_paid_trials(study) == []
    run(study, problem, 15)
    assert len(complete_trials(study)) == len(list_paid_trials(study)) == 15
    assert params(study)[10:20] == params(study)[:10]


@pytest.mark.parametrize(("num_options", "at_most"), [(10, math.inf), (6, math.inf), (9, 4.0)])
def test_a_small_space_is_searched_after_all_of_it_has_failed(num_options: int, at_most: float) -> None:
    problem = grid_problem(num_choices=1, num_options=num_options, at_most=at_most)
    study = memory_study(problem, OURS.sampler(problem, 0))

    def evaluate(_: Architecture) -> Mapping[str, Measurement]:
        raise OSError("no such device")

    for _ in range(2):
        with pytest.raises(EvaluationError, match=r"evaluations all failed.*no such device"):
            run(study, problem, 50, evaluate)
    run(study, problem, 50)
    assert len(complete_trials(study)) == len(list_paid_trials(study)) == min(num_options, at_most + 1)


def test_a_single_image_that_does_not_fit_ends_the_search() -> None:
    problem = grid_problem()
    study = memory_study(problem)

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        raise OutOfMemoryError("memory ran out with a single image")

    with pytest.raises(OutOfMemoryError, match="single image"):
        run(study, problem, 20, evaluate)
    assert TrialState.FAIL not in states(study)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/tmp/x"),
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
        ExportError("ONNX Runtime can't quantize (OSError: [Errno 28] No space left on device)"),
        RunDirectoryError("run/weights can't be written"),
    ],
    ids=str,
)
def test_a_full_disk_fails_no_architecture(whole: optuna.Study, error: Exception) -> None:
    problem = grid_problem()
    study = memory_study(problem, OURS.sampler(problem, 0))

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        if is_full and len(complete_trials(study)) == 4:
            raise error
        return grid_evaluate(problem, architecture)

    is_full = True
    with pytest.raises(RunDirectoryError, match="can't be"):
        run(study, problem, 11, evaluate)
    assert TrialState.FAIL not in states(study)
    is_full = False
    run(study, problem, 11, evaluate)
    assert params(study) == params(whole)
    assert states(study) == [TrialState.COMPLETE] * 11


def test_a_keyboard_interrupt_is_no_failed_evaluation(whole: optuna.Study) -> None:
    problem = grid_problem()
    study = memory_study(problem, OURS.sampler(problem, 0))
    evaluated = 0

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        nonlocal evaluated
        evaluated += 1
        if evaluated == 4:
            raise KeyboardInterrupt
        return grid_evaluate(problem, architecture)

    with pytest.raises(KeyboardInterrupt):
        run(study, problem, 11, evaluate)
    assert TrialState.FAIL not in states(study)
    run(study, problem, 11)
    assert params(study) == params(whole)
    assert states(study) == [TrialState.COMPLETE] * 11


@pytest.mark.parametrize("strategy", [OURS, OptunaSampler("RandomSampler"), OptunaSampler("NSGAIISampler")])
def test_a_space_smaller_than_the_budget_is_evaluated_once_and_stops(
    strategy: SurrogateSearch | OptunaSampler,
) -> None:
    problem = grid_problem(num_choices=2, num_options=3)
    study = memory_study(problem, strategy.sampler(problem, 0))
    evaluated: list[str] = []

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        evaluated.append(architecture.id)
        if len(evaluated) == 4:
            raise RuntimeError("one of them can't be evaluated")
        return grid_evaluate(problem, architecture)

    run(study, problem, 100, evaluate)
    assert len(evaluated) == len(set(evaluated)) == 9
    assert len(list_paid_trials(study)) == 9


def test_a_space_with_fewer_feasible_ones_than_the_budget_stops(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    problem = grid_problem(num_choices=2, num_options=3, at_most=1)
    study = memory_study(problem)
    run(study, problem, 100)
    assert len(list_paid_trials(study)) == 3
    assert "all 3 architectures that meet the constraints are evaluated" in caplog.text
    assert study.user_attrs[ENDED] in caplog.text


def needle(num_choices: int, num_options: int) -> Problem:
    """A space of which only the smallest architecture and its next neighbours are feasible."""
    return grid_problem(num_choices=num_choices, num_options=num_options, at_most=1)


@pytest.mark.parametrize(
    ("problem", "num_feasible", "reason"),
    [
        (needle(7, 4), 8, "all 8 architectures that meet the constraints are evaluated"),
        (
            needle(10, 4),
            11,
            "after 11 architectures the sampler finds nothing left to propose that meets the",
        ),
    ],
)
@pytest.mark.parametrize("strategy", [OURS, LocalSearch()])
def test_a_sampler_that_has_nothing_left_ends_the_search_soon(
    strategy: Strategy, problem: Problem, num_feasible: int, reason: str
) -> None:
    study = memory_study(problem, strategy.sampler(problem, 0))
    run(study, problem, 100)
    assert study.user_attrs[ENDED].startswith(reason)
    assert len(complete_trials(study)) == num_feasible
    assert len(study.trials) == num_feasible + 10


@pytest.mark.parametrize("strategy", [OURS, LocalSearch(), OptunaSampler("RandomSampler")])
def test_the_same_call_adds_nothing_to_an_exhausted_search(strategy: Strategy) -> None:
    problem = needle(3, 4)
    study = memory_study(problem, strategy.sampler(problem, 0))
    run(study, problem, 100)
    before, ended = len(study.trials), study.user_attrs[ENDED]
    assert before > len(complete_trials(study)) >= 4
    study.sampler = strategy.sampler(problem, 0)
    assert run(study, problem, 100) == []
    assert len(study.trials) == before
    assert study.user_attrs[ENDED] == ended


def test_what_is_queued_is_evaluated_though_the_sampler_had_nothing_left_before() -> None:
    problem = needle(10, 4)

    def propose(history: History, _: object) -> IntArray | None:
        return None if history.seen else np.zeros(10, dtype=np.int64)

    study = memory_study(problem, HistorySampler(problem, 0, propose))
    run(study, problem, 100)
    assert len(list_paid_trials(study)) == 1
    for position in range(12):
        study.enqueue_trial(dict(problem.space.largest()) | {"c0": position % 4})
    study.enqueue_trial(dict(problem.space.smallest()) | {"c3": 1})
    run(study, problem, 100)
    assert len(complete_trials(study)) == 2


@pytest.mark.parametrize("strategy", [OURS, LocalSearch(), OptunaSampler("RandomSampler")])
@pytest.mark.parametrize("option", [99, 1.0])  # 1.0 equals the option 1, but is another
def test_what_is_queued_with_an_unknown_option_is_failed_unpaid(
    strategy: Strategy, option: float, caplog: pytest.LogCaptureFixture
) -> None:
    problem = grid_problem()
    study = memory_study(problem, strategy.sampler(problem, 0))
    run(study, problem, 2)
    study.enqueue_trial({"c0": 0, "c1": option, "c2": 0, "c3": 0})
    run(study, problem, 8)
    assert states(study)[2] == TrialState.FAIL
    assert f"trial 2 was queued with {{'c1': {option}}}" in caplog.text
    assert len(list_paid_trials(study)) == len(complete_trials(study)) == 8


def test_chance_that_finds_what_the_sampler_did_not_keeps_the_search_going() -> None:
    problem = grid_problem(num_choices=10)
    study = memory_study(problem, HistorySampler(problem, 0, lambda _, __: None))
    run(study, problem, 30)
    assert len(complete_trials(study)) == 30


def test_a_sampler_that_finds_nothing_new_ends_the_search_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problem = grid_problem()
    study = memory_study(problem, Sequence((0, 0, 0, 1), (1, 1, 0, 0)))
    run(study, problem, 3)
    assert len(list_paid_trials(study)) == 2
    assert "nothing new 502 times in a row" in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING


def test_a_space_of_one_architecture_is_evaluated_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    problem = grid_problem(num_choices=1, num_options=1)
    study = memory_study(problem, OURS.sampler(problem, 0))
    told = run(study, problem, 20)
    assert len(told) == len(list_paid_trials(study)) == 1
    assert "all 1 architectures of the space are evaluated" in caplog.text


@pytest.mark.parametrize(
    ("strategy", "value"),
    [(OURS, 1e12), *((OptunaSampler("RandomSampler"), value) for value in (1e12, -1e12, 0.0))],
)
def test_one_absurd_or_constant_objective_stops_nothing(
    strategy: SurrogateSearch | OptunaSampler, value: float
) -> None:
    problem = grid_problem()
    study = memory_study(problem, strategy.sampler(problem, 0))
    number = 0

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        nonlocal number
        number += 1
        absurd = value == 0 or number == 3
        return {**grid_evaluate(problem, architecture), **({"quality": exact(value)} if absurd else {})}

    run(study, problem, 25, evaluate)
    assert len(complete_trials(study)) == 25
    box = reference_box(study, problem.objectives)
    assert box is not None
    assert math.isfinite(box.hypervolume(costs_of(problem.objectives, complete_trials(study))))


def test_a_foreign_trial_with_an_infinite_value_is_a_failure_of_its_architecture() -> None:
    problem = grid_problem(num_choices=2, num_options=2)
    study = memory_study(problem, OURS.sampler(problem, 0))
    trial = study.ask(distributions(problem.space))
    study.tell(trial, [math.inf, 1.0])
    evaluated: list[Architecture] = []

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        evaluated.append(architecture)
        return grid_evaluate(problem, architecture)

    run(study, problem, 10, evaluate)
    assert problem.space.architecture(trial.params) not in evaluated
    assert len(complete_trials(study)) == len(evaluated) == 3


def test_twelve_objectives_are_searched() -> None:
    grid = grid_problem()
    names = ["quality", *(f"extra{i}" for i in range(10)), "size"]
    problem = dataclasses.replace(grid, objectives=tuple(Objective(n, "", "minimize") for n in names))
    study = memory_study(problem)

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        row = problem.space.indices([architecture])[0]
        extra = {f"extra{i}": exact(float(row[i % 4] * i)) for i in range(10)}
        return {"quality": exact(float(-row[0])), **extra, "size": exact(float(row.sum()))}

    run(study, problem, 14, evaluate)
    assert len(complete_trials(study)) == 14


def test_the_search_stops_when_the_time_is_up_and_goes_on_with_more() -> None:
    problem = grid_problem()
    study = memory_study(problem)

    def searched(stopping: Stopping) -> str:
        return search(
            study,
            problem,
            lambda a: grid_evaluate(problem, a),
            evaluations=8,
            on_trial=lambda _: None,
            stopping=stopping,
        )

    assert searched(Stopping(minutes=1e-9)) == "1e-09 minutes of searching are over"
    assert len(list_paid_trials(study)) == 0
    assert searched(Stopping(minutes=60.0)) == "8 evaluations are spent"
    assert study.user_attrs[ENDED] == "8 evaluations are spent"


def test_time_that_earlier_attempts_took_counts() -> None:
    problem = grid_problem()
    study = memory_study(problem)
    run(study, problem, 5)
    spent = wall_seconds(study.trials)
    assert spent > 0
    ended = search(
        study,
        problem,
        lambda a: grid_evaluate(problem, a),
        evaluations=8,
        on_trial=lambda _: None,
        stopping=Stopping(minutes=spent / 60),
    )
    assert "are over" in ended
    assert len(list_paid_trials(study)) == 5


@pytest.mark.parametrize("interruptions", [(), (57,), (31, 60), (63, 66)])
def test_the_search_stops_on_a_plateau(interruptions: tuple[int, ...]) -> None:
    problem = grid_problem(num_choices=6)
    study = memory_study(problem)
    best = {"quality": exact(2.0), "size": exact(0.5)}
    number = 0

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        nonlocal number
        number += 1
        return best if number == 9 else {"quality": exact(1.0 / number), "size": exact(float(number))}

    for evaluations in (*interruptions, 500, 500):
        ended = search(
            study,
            problem,
            evaluate,
            evaluations=evaluations,
            on_trial=lambda _: None,
            stopping=Stopping(plateau=0.001, horizon=60),
        )
    assert "the hypervolume has reached a plateau: 60 more evaluations" in ended
    assert len(list_paid_trials(study)) == 60


def test_a_repeated_proposal_is_answered_from_the_record() -> None:
    problem = grid_problem()
    a, b, c = (0, 0, 0, 1), (1, 1, 0, 0), (2, 0, 0, 0)
    study = memory_study(problem, Sequence(a, b, a, a, c))
    evaluated: list[Architecture] = []

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        evaluated.append(architecture)
        return grid_evaluate(problem, architecture)

    run(study, problem, 3, evaluate)
    assert len(evaluated) == 3
    assert states(study) == [TrialState.COMPLETE] * 5
    assert [t.user_attrs.get(REPEATS) for t in study.trials] == [None, None, 0, 0, None]
    assert study.trials[2].values == study.trials[3].values == study.trials[0].values
    assert [t.number for t in complete_trials(study)] == [0, 1, 4]


def test_a_repeat_of_a_failed_architecture_is_not_paid_again() -> None:
    problem = grid_problem()
    a, b, c = (0, 0, 0, 1), (1, 1, 0, 0), (2, 0, 0, 0)
    study = memory_study(problem, Sequence(b, a, a, c))

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        if tuple(architecture.values()) == a:
            raise RuntimeError("never")
        return grid_evaluate(problem, architecture)

    run(study, problem, 3, evaluate)
    expected = [TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE]
    assert states(study) == expected
    assert len(list_paid_trials(study)) == 3


def test_a_proposal_against_a_constraint_is_pruned_unpaid() -> None:
    problem = grid_problem(at_most=4)
    study = memory_study(problem, Sequence((3, 3, 3, 3), (1, 1, 0, 0), (2, 2, 1, 0), (0, 0, 0, 1)))
    evaluated: list[tuple[object, ...]] = []

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        evaluated.append(tuple(architecture.values()))
        return grid_evaluate(problem, architecture)

    run(study, problem, 2, evaluate)
    pruned, complete = TrialState.PRUNED, TrialState.COMPLETE
    assert states(study) == [pruned, complete, pruned, complete]
    assert evaluated == [(1, 1, 0, 0), (0, 0, 0, 1)]


def killed_study(path: Path, problem: Problem, *, finished: int, set_params: int) -> optuna.Study:
    """Return a study whose process died after ``finished`` trials, with ``set_params`` of the next one set."""
    study = open_study(path, "s", problem.objectives, OURS.sampler(problem, 0))
    run(study, problem, finished)
    trial = study.ask()
    for name, distribution in list(distributions(problem.space).items())[:set_params]:
        trial.suggest_categorical(name, distribution.choices)  # type: ignore[attr-defined]
    return study


@pytest.fixture(scope="module")
def whole() -> optuna.Study:
    """A search of eleven evaluations that nothing interrupted."""
    problem = grid_problem()
    study = memory_study(problem, OURS.sampler(problem, 0))
    run(study, problem, 11)
    return study


@pytest.mark.parametrize(("finished", "set_params"), [(0, 0), (3, 2), (8, 0), (8, 2), (8, 4)])
def test_a_trial_left_running_is_finished_under_its_own_number(
    tmp_path: Path, whole: optuna.Study, finished: int, set_params: int
) -> None:
    problem = grid_problem()
    killed_study(tmp_path / "killed.db", problem, finished=finished, set_params=set_params)
    resumed = open_study(tmp_path / "killed.db", "s", problem.objectives, OURS.sampler(problem, 0))
    assert states(resumed)[-1] == TrialState.RUNNING
    run(resumed, problem, 11)
    assert states(resumed) == [TrialState.COMPLETE] * 11
    assert params(resumed) == params(whole)
    assert [t.values for t in resumed.trials] == [t.values for t in whole.trials]


def test_a_trial_that_died_after_it_was_measured_is_measured_again(tmp_path: Path) -> None:
    problem = grid_problem()
    study = killed_study(tmp_path / "killed.db", problem, finished=2, set_params=4)
    left = study.trials[-1]
    study._storage.set_trial_user_attr(
        left._trial_id, ARCHITECTURE, problem.space.architecture(left.params).id
    )
    resumed = open_study(tmp_path / "killed.db", "s", problem.objectives, OURS.sampler(problem, 0))
    run(resumed, problem, 6)
    assert states(resumed) == [TrialState.COMPLETE] * 6


def test_a_trial_that_died_while_failing_counts_as_what_it_becomes(tmp_path: Path) -> None:
    problem = grid_problem()
    study = killed_study(tmp_path / "killed.db", problem, finished=2, set_params=4)
    study._storage.set_trial_user_attr(study.trials[-1]._trial_id, ERROR, "RuntimeError: by chance")
    resumed = open_study(tmp_path / "killed.db", "s", problem.objectives, OURS.sampler(problem, 0))
    run(resumed, problem, 3)
    assert states(resumed) == [TrialState.COMPLETE] * 3


def test_several_trials_left_running_are_all_finished() -> None:
    problem = grid_problem()
    study = memory_study(problem, OURS.sampler(problem, 0))
    for _ in range(3):
        study.ask(distributions(problem.space))
    run(study, problem, 5)
    assert states(study) == [TrialState.COMPLETE] * 5


class Raising(RandomSampler):
    """A sampler that fails as it is told to."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(seed=0)
        self._error = error

    def sample_independent(self, *_args: object) -> object:
        raise self._error


class RaisingLater(Raising):
    """Fails when it is told how a trial went."""

    def sample_independent(self, *args: Any) -> object:
        return RandomSampler(seed=0).sample_independent(*args)

    def after_trial(self, *_args: object) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error", [ValueError("one\ntwo"), SystemExit(2), RecursionError(), AttributeError("x")]
)
@pytest.mark.parametrize("sampler", [Raising, RaisingLater])
def test_a_sampler_that_raises_is_a_sentence(sampler: type[Raising], error: BaseException) -> None:
    problem = grid_problem()
    with pytest.raises(StudyError, match="the study's strategy failed") as caught:
        run(memory_study(problem, sampler(error)), problem, 2)
    assert "\n" not in str(caught.value)


def test_an_objective_that_would_end_the_process_fails_its_trial_alone() -> None:
    problem = grid_problem()

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        if architecture["c0"] == 0:
            raise SystemExit(1)
        return grid_evaluate(problem, architecture)

    study = memory_study(problem)
    run(study, problem, 12, evaluate)
    failed = [t for t in study.trials if t.state == TrialState.FAIL]
    assert failed
    assert all(t.user_attrs[ERROR] == "SystemExit: 1" for t in failed)
