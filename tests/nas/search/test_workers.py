"""Several processes on one study on PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import optuna
import pytest
from fakes import NearestSurrogate, grid_evaluate, grid_problem
from optuna.trial import FrozenTrial, TrialState
from team_worker import STUDY

from nas.errors import EvaluationError
from nas.objective import Measurement
from nas.search import SurrogateSearch
from nas.search.loop import join, search
from nas.search.record import (
    ARCHITECTURE,
    ENDED,
    ERROR,
    LOST,
    RETRIES,
    WORKER,
    complete_trials,
    distributions,
    paid_trials,
)
from nas.search.stopping import Stopping
from nas.search.storage import open_study
from nas.search.workers import COORDINATOR, LoneWorker, TeamWorker, worker_for
from nas.space import Architecture, FloatArray, IntArray

SCRIPT = Path(__file__).parents[2] / "support" / "team_worker.py"
PROBLEM = grid_problem(num_choices=2, num_options=6)
STRATEGY = SurrogateSearch(NearestSurrogate, num_startup=6, batch_size=4)


def opened(url: str) -> optuna.Study:
    return open_study(url, STUDY, PROBLEM.objectives, STRATEGY.sampler(PROBLEM, 0))


def team(study: optuna.Study, *, coordinator: bool = True, grace: float = 60.0) -> TeamWorker:
    return TeamWorker(study, coordinator=coordinator, grace=grace, poll=0.01)


def run(study: optuna.Study, worker: TeamWorker, evaluations: int) -> list[FrozenTrial]:
    told: list[FrozenTrial] = []
    search(
        study,
        PROBLEM,
        lambda a: grid_evaluate(PROBLEM, a),
        evaluations=evaluations,
        on_trial=told.append,
        worker=worker,
    )
    return told


def left_running(study: optuna.Study, worker: str, *, claimed: bool = True) -> FrozenTrial:
    """Return a trial whose process died while it evaluated it."""
    trial = study.ask(distributions(PROBLEM.space))
    trial.set_user_attr(WORKER, worker)
    if claimed:
        trial.set_user_attr(ARCHITECTURE, PROBLEM.space.architecture(trial.params).id)
    return study.trials[trial.number]


def evaluated(log: Path) -> list[tuple[str, str]]:
    """Return process and architecture of every evaluation that was begun."""
    return [(line.split()[0], line.split()[1]) for line in log.read_text().splitlines()]


def test_four_processes_evaluate_nothing_twice_and_lose_nothing_when_one_is_killed(
    postgres_url: str, tmp_path: Path
) -> None:
    log, evaluations = tmp_path / "log", 20
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent)}

    def start(role: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(SCRIPT), postgres_url, str(evaluations), role, str(log), "2", "6"]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)

    processes = [start(role) for role in ("coordinator", "worker", "worker", "deadly")]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, -signal.SIGKILL], errors

    study = opened(postgres_url)
    lost = [t for t in study.trials if t.state == TrialState.FAIL and LOST in t.user_attrs]
    assert len(lost) == 1
    assert lost[0].state == TrialState.FAIL
    begun = Counter(architecture for _, architecture in evaluated(log))
    assert [architecture for architecture, times in begun.items() if times > 1] == [
        lost[0].user_attrs[ARCHITECTURE]
    ]
    again = [t for t in study.trials if t.user_attrs.get(RETRIES) == lost[0].number]
    assert [t.state for t in again] == [TrialState.COMPLETE]
    assert again[0].params == lost[0].params

    finished = complete_trials(study)
    assert len(finished) == len(paid_trials(study)) == evaluations
    assert len({t.user_attrs[ARCHITECTURE] for t in finished}) == evaluations
    assert not [t for t in study.trials if not t.state.is_finished()]
    assert len({worker for worker, _ in evaluated(log)}) == 4
    assert study.user_attrs[ENDED] == f"{evaluations} evaluations are spent"


def test_a_coordinators_own_trial_is_resumed_at_once_under_its_number(postgres_url: str) -> None:
    study = opened(postgres_url)
    run(study, team(study), 3)
    left = left_running(study, COORDINATOR)
    run(opened(postgres_url), team(opened(postgres_url)), 6)
    after = opened(postgres_url).trials
    assert [t.state for t in after] == [TrialState.COMPLETE] * 6
    assert after[left.number].params == left.params


def test_a_live_workers_trial_is_neither_resumed_nor_evaluated_by_another(postgres_url: str) -> None:
    study = opened(postgres_url)
    left = left_running(study, "elsewhere:1")
    others = team(study, coordinator=False)
    with others.beating(left._trial_id):
        seen: list[str] = []

        def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
            seen.append(architecture.id)
            if len(seen) == 4:
                study.tell(left.number, [1.0, 1.0])  # the other one is done at last
            return grid_evaluate(PROBLEM, architecture)

        search(study, PROBLEM, evaluate, evaluations=5, on_trial=lambda _: None, worker=team(study))
    assert len(seen) == 4
    assert left.user_attrs[ARCHITECTURE] not in seen
    assert len(paid_trials(study)) == 5


@pytest.mark.parametrize("claimed", [True, False])
def test_a_dead_workers_trial_is_failed_and_its_architecture_proposed_again(
    postgres_url: str, claimed: bool
) -> None:
    study = opened(postgres_url)
    left = left_running(study, "elsewhere:1", claimed=claimed)
    told = run(study, team(study, grace=0.05), 4)
    trials = study.trials
    assert trials[left.number].state == TrialState.FAIL
    assert trials[left.number].user_attrs[LOST] == 1
    again = [t for t in trials if t.user_attrs.get(RETRIES) == left.number]
    assert [(t.state, t.params) for t in again] == [(TrialState.COMPLETE, left.params)]
    assert len(paid_trials(study)) == len(complete_trials(study)) == 4
    assert left.number in {t.number for t in told}


def test_an_architecture_that_kills_three_workers_is_a_failed_evaluation(postgres_url: str) -> None:
    study = opened(postgres_url)
    worker = team(study)
    left = left_running(study, "elsewhere:1")
    for number in range(3):
        worker.give_up(left, "a test")
        if number < 2:
            study.enqueue_trial(left.params, user_attrs={RETRIES: left.number})
            left = left_running(study, "elsewhere:1")
    last = study.trials[-1]
    assert "3 workers died" in last.user_attrs[ERROR]
    assert paid_trials(study)[0].number == last.number
    run(study, worker, 4)
    assert last.params not in [t.params for t in complete_trials(study)]
    assert len(paid_trials(study)) == 4


def test_a_worker_that_was_given_up_drops_its_result_and_goes_on(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = opened(postgres_url)
    worker = team(study)
    seen: list[str] = []

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        seen.append(architecture.id)
        if len(seen) == 2:
            worker.give_up(study.trials[-1], "it was silent")
        return grid_evaluate(PROBLEM, architecture)

    search(study, PROBLEM, evaluate, evaluations=4, on_trial=lambda _: None, worker=worker)
    assert "what it found is dropped" in caplog.text
    assert len(seen) == 5
    assert seen.count(seen[1]) == 2
    assert len(complete_trials(study)) == 4


def test_two_that_propose_the_same_evaluate_it_once(postgres_url: str) -> None:
    study = opened(postgres_url)
    other = left_running(study, "elsewhere:1")
    beating = team(study, coordinator=False)
    study.enqueue_trial(other.params)
    seen: list[str] = []

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        seen.append(architecture.id)
        if len(seen) == 2:
            study.tell(other.number, [1.0, 1.0])
        return grid_evaluate(PROBLEM, architecture)

    with beating.beating(other._trial_id):
        search(study, PROBLEM, evaluate, evaluations=3, on_trial=lambda _: None, worker=team(study))
    assert other.user_attrs[ARCHITECTURE] not in seen
    assert study.trials[1].state == TrialState.PRUNED
    assert len(paid_trials(study)) == 3


class SlowSurrogate(NearestSurrogate):
    """Fits only when two workers fit at the same time, or one has waited for long enough."""

    together = threading.Barrier(2, timeout=1.0)

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            self.together.wait()
        super().fit(indices, costs, rng)


def test_two_that_fit_at_the_same_time_propose_different_architectures(postgres_url: str) -> None:
    strategy = SurrogateSearch(SlowSurrogate, num_startup=6, batch_size=4)
    open_study(postgres_url, STUDY, PROBLEM.objectives, strategy.sampler(PROBLEM, 0))
    both = threading.Barrier(2)

    def work(coordinator: bool) -> None:
        study = open_study(postgres_url, STUDY, PROBLEM.objectives, strategy.sampler(PROBLEM, 0))
        worker = team(study, coordinator=coordinator)

        def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
            return grid_evaluate(PROBLEM, architecture)

        both.wait()
        if coordinator:
            search(study, PROBLEM, evaluate, evaluations=16, on_trial=lambda _: None, worker=worker)
        else:
            join(study, PROBLEM, evaluate, on_trial=lambda _: None, worker=worker)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (True, False)))
    trials = opened(postgres_url).trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 16
    assert len({t.user_attrs[ARCHITECTURE] for t in trials}) == 16


def test_a_broken_objective_stops_every_worker_and_what_failed_is_evaluated_again(postgres_url: str) -> None:
    study = opened(postgres_url)
    late = opened(postgres_url)

    def broken(_: Architecture) -> Mapping[str, Measurement]:
        raise RuntimeError("no such device")

    def broken_late(_: Architecture) -> Mapping[str, Measurement]:
        with pytest.raises(EvaluationError, match="first 10 evaluations"):  # meanwhile, elsewhere
            search(study, PROBLEM, broken, evaluations=20, on_trial=lambda _: None, worker=team(study))
        raise RuntimeError("no such device here")

    study.set_user_attr("limits", {"evaluations": 20, "stopping": {"minutes": None}})
    with pytest.raises(EvaluationError, match=r"first 11 evaluations all failed.*no such device here"):
        join(late, PROBLEM, broken_late, on_trial=lambda _: None, worker=team(late, coordinator=False))
    assert paid_trials(study) == []
    failed = [t.params for t in study.trials]
    assert len(failed) == 11

    waiting = opened(postgres_url)
    join_again = team(waiting, coordinator=False)

    def mended(architecture: Architecture) -> Mapping[str, Measurement]:
        return grid_evaluate(PROBLEM, architecture)

    told = run(opened(postgres_url), team(opened(postgres_url)), 20)
    assert (
        join(waiting, PROBLEM, mended, on_trial=lambda _: None, worker=join_again)
        == "20 evaluations are spent"
    )
    assert len(complete_trials(study)) == len(paid_trials(study)) == 20
    evaluated_again = [t.params for t in told if t.state == TrialState.COMPLETE][:11]
    assert sorted(map(str, evaluated_again)) == sorted(map(str, failed))


def test_a_stopped_worker_gives_its_trial_back_at_once(postgres_url: str) -> None:
    study = opened(postgres_url)
    run(study, team(study), 2)
    study.set_user_attr(ENDED, None)
    study.set_user_attr("limits", {"evaluations": 5, "stopping": {"minutes": None}})

    def interrupted(_: Architecture) -> Mapping[str, Measurement]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        join(study, PROBLEM, interrupted, on_trial=lambda _: None, worker=team(study, coordinator=False))
    assert study.trials[2].user_attrs[LOST] == 1
    run(study, team(study), 5)
    assert len(complete_trials(study)) == 5
    assert study.trials[3].params == study.trials[2].params


def test_who_joins_a_search_that_has_ended_does_nothing(postgres_url: str) -> None:
    study = opened(postgres_url)
    run(study, team(study), 3)
    ended = join(study, PROBLEM, lambda a: {}, on_trial=lambda _: None, worker=team(study, coordinator=False))
    assert ended == "3 evaluations are spent"
    assert len(study.trials) == 3


def test_the_time_is_up_for_all(postgres_url: str) -> None:
    study = opened(postgres_url)
    told: list[FrozenTrial] = []
    ended = search(
        study,
        PROBLEM,
        lambda a: grid_evaluate(PROBLEM, a),
        evaluations=30,
        on_trial=told.append,
        stopping=Stopping(minutes=1e-6),
        worker=team(study),
    )
    assert "minutes of searching are over" in ended
    assert (
        join(study, PROBLEM, lambda a: {}, on_trial=told.append, worker=team(study, coordinator=False))
        == ended
    )


def test_a_file_has_a_lone_worker_and_a_server_a_team(postgres_url: str, tmp_path: Path) -> None:
    assert isinstance(worker_for(opened(postgres_url), coordinator=True), TeamWorker)
    file = open_study(tmp_path / "study.db", STUDY, PROBLEM.objectives, None)
    assert isinstance(worker_for(file, coordinator=True), LoneWorker)
    assert isinstance(worker_for(optuna.create_study(), coordinator=True), LoneWorker)
