"""The loop over an executor that works on several architectures at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import optuna
import pytest
from fakes import NearestSurrogate, grid_evaluate, grid_problem
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from nas.errors import DeviceUnavailableError, EvaluationError, StudyError
from nas.executors import Done, Failed, Job, Lost, Outcome, Persistent, Work
from nas.objective import Measurement
from nas.search import ResponseSurfaceSearch, SurrogateSearch, TwoStage, loop
from nas.search.loop import Evaluate, search_with
from nas.search.record.trials import ARCHITECTURE, ENDED, ERROR, PREDICTED, complete_trials, list_paid_trials
from nas.search.stopping import Stopping
from nas.search.strategies.beside import Make, Take
from nas.space import Architecture, FloatArray, IntArray
from nas.strategy import Strategy

PROBLEM = grid_problem()


class Several:
    """Finishes the job that was begun last first; loses what it is told to.

    Args:
        capacity: How many jobs it holds before the first comes back.
        loses: Whether the n-th submission is lost.
    """

    def __init__(self, capacity: int, loses: Callable[[int], bool] = lambda _: False) -> None:
        self.capacity, self._loses = capacity, loses
        self._held: list[Job[Evaluate]] = []
        self.most_held = self.submissions = 0
        self.while_held: Callable[[], None] = lambda: None

    def submit(self, job: Job[Evaluate]) -> None:
        assert job.key not in {held.key for held in self._held}
        self._held.append(job)
        self.most_held = max(self.most_held, len(self._held))
        self.submissions += 1

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        if timeout_s is not None or not self._held:
            return []
        self.while_held()
        job = self._held.pop()
        if self._loses(self.submissions):
            return [Lost(job.key, "by chance")]
        try:
            return [Done(job.key, job.work(evaluate))]
        except Exception as error:
            return [Failed(job.key, error)]

    def close(self) -> None:
        self._held.clear()


def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
    return grid_evaluate(PROBLEM, architecture)


def work_of(architecture: Architecture) -> Work[Evaluate]:
    return lambda judge: judge(architecture)


def study_of(sampler: BaseSampler | None = None) -> optuna.Study:
    directions = [o.direction for o in PROBLEM.objectives]
    return optuna.create_study(directions=directions, sampler=sampler or RandomSampler(seed=0))


def search_by(
    executor: Several, study: optuna.Study, evaluations: int, work: Callable[..., Work[Evaluate]] = work_of
) -> str:
    return search_with(
        Persistent(executor), study, PROBLEM, work, evaluations=evaluations, on_trial=lambda _: None
    )


@pytest.mark.parametrize("capacity", [1, 3, 50])
def test_no_more_is_paid_for_than_was_asked_and_nothing_twice(capacity: int) -> None:
    executor, study = Several(capacity), study_of()
    assert search_by(executor, study, 20) == "20 evaluations are spent"
    assert executor.submissions == len(complete_trials(study)) == 20
    assert executor.most_held == min(capacity, 20)
    assert len({t.user_attrs[ARCHITECTURE] for t in complete_trials(study)}) == 20
    assert all(trial.state.is_finished() for trial in study.trials)


def test_a_sampler_sees_what_runs_and_proposes_something_else() -> None:
    strategy = SurrogateSearch(NearestSurrogate, num_startup=6, batch_size=4)
    executor, study = Several(5), study_of(strategy.sampler(PROBLEM, 0))
    held: list[int] = []

    def look() -> None:
        running = [t for t in study.trials if t.state == TrialState.RUNNING]
        assert len({t.user_attrs[ARCHITECTURE] for t in running}) == len(running)
        held.append(len(running))

    executor.while_held = look
    search_by(executor, study, 14)
    assert max(held) == 5
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)  # nothing was proposed in vain


def test_what_was_lost_is_evaluated_again_under_its_own_number() -> None:
    executor, study = Several(3, loses=lambda count: count % 4 == 0), study_of()
    search_by(executor, study, 12)
    again = study_of()
    search_by(Several(3), again, 12)
    assert [t.params for t in study.trials] == [t.params for t in again.trials]
    assert [t.values for t in study.trials] == [t.values for t in again.trials]


def test_an_architecture_that_every_worker_dies_of_fails_alone() -> None:
    study = study_of()
    first: list[Architecture] = []

    def deadly(architecture: Architecture) -> Work[Evaluate]:
        first.append(architecture)
        return work_of(architecture)

    class Deadly(Several):
        def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
            outcomes = super().collect(timeout_s)
            return [Lost(0, "by signal 9") if outcome.key == 0 else outcome for outcome in outcomes]

    search_by(Deadly(2), study, 5, deadly)
    failed = [t for t in study.trials if t.state == TrialState.FAIL]
    assert [t.number for t in failed] == [0]
    assert failed[0].user_attrs[ERROR].startswith("WorkerError: 4 workers died at it")
    assert len(list_paid_trials(study)) == 5


def test_the_search_ends_when_what_is_under_way_has_ended() -> None:
    study = study_of()
    ended = search_with(
        Persistent(Several(4)),
        study,
        PROBLEM,
        work_of,
        evaluations=100,
        on_trial=lambda _: None,
        stopping=Stopping(minutes=1e-9),
    )
    assert "minutes of searching are over" in ended
    assert study.user_attrs[ENDED] == ended
    assert all(trial.state.is_finished() for trial in study.trials)


def test_a_small_space_is_exhausted_each_architecture_once() -> None:
    small = grid_problem(2, 3)
    study = study_of()
    search_with(
        Persistent(Several(4)),
        study,
        small,
        lambda architecture: lambda _: grid_evaluate(small, architecture),
        evaluations=50,
        on_trial=lambda _: None,
    )
    assert len(complete_trials(study)) == len(list_paid_trials(study)) == 9


def test_what_a_killed_process_left_running_is_evaluated_under_its_own_number() -> None:
    executor, study = Several(3), study_of()

    def stop() -> None:
        if len(complete_trials(study)) == 4:
            raise KeyboardInterrupt

    executor.while_held = stop
    with pytest.raises(KeyboardInterrupt):
        search_by(executor, study, 10)
    left = [t.number for t in study.trials if t.state == TrialState.RUNNING]
    assert len(left) == 3
    search_by(Several(3), study, 10)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 10


def test_ten_failures_at_the_start_stop_it() -> None:
    def broken(architecture: Architecture) -> Work[Evaluate]:
        return lambda _: 1 / 0

    with pytest.raises(EvaluationError, match="evaluations all failed"):
        search_by(Several(3), study_of(), 30, broken)


def test_an_evaluation_whose_device_is_away_is_proposed_again() -> None:
    study, pauses, away = study_of(), list[float](), [True, True]

    def work(architecture: Architecture) -> Work[Evaluate]:
        def judge(by: Evaluate) -> Mapping[str, Measurement]:
            if away:
                away.pop()
                raise DeviceUnavailableError("the board is away")
            return by(architecture)

        return judge

    search_with(
        Persistent(Several(3)),
        study,
        PROBLEM,
        work,
        evaluations=6,
        on_trial=lambda _: None,
        sleep=pauses.append,
    )
    assert len(complete_trials(study)) == len(list_paid_trials(study)) == 6
    assert pauses


SURROGATE_SEARCH = SurrogateSearch(NearestSurrogate, num_startup=6, batch_size=4)
PARTITION = (("c0", "c1", "c2"), ("c3",))


@pytest.mark.parametrize(
    "strategy",
    [
        SURROGATE_SEARCH,
        TwoStage(SURROGATE_SEARCH, PARTITION, first_evaluations=50),
        ResponseSurfaceSearch(NearestSurrogate, num_startup=4),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_nobody_waits_for_a_fit_and_its_proposals_are_used_when_it_is_made(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(strategy.sampler(PROBLEM, 0))
    begun: list[int] = []

    class Late:
        """What is made is only there when 20 evaluations are."""

        take: Take | None = None

        def is_free(self) -> bool:
            if self.take is not None and len(complete_trials(study)) >= 20:
                self.take()
                self.take = None
            return self.take is None

        def begin(self, make: Make) -> None:
            begun.append(len(complete_trials(study)))
            self.take = make()

        def close(self) -> None:
            pass

    monkeypatch.setattr(loop, "Beside", Late)
    search_by(Several(4), study, 30)
    predicted = [t.number for t in study.trials if PREDICTED in t.system_attrs]
    assert begun[0] == 4
    assert predicted == list(range(23, 30))  # the three that were under way have none
    assert len({t.user_attrs[ARCHITECTURE] for t in study.trials}) == len(study.trials) == 30


def test_a_two_stage_search_has_the_fits_of_each_stage_made(monkeypatch: pytest.MonkeyPatch) -> None:
    class AtOnce:
        """What is made is there when it is begun."""

        def is_free(self) -> bool:
            return True

        def begin(self, make: Make) -> None:
            make()()

        def close(self) -> None:
            pass

    monkeypatch.setattr(loop, "Beside", AtOnce)
    study = study_of(TwoStage(SURROGATE_SEARCH, PARTITION, first_evaluations=14).sampler(PROBLEM, 0))
    search_by(Several(4), study, 40)
    assert all(t.params["c3"] == 3 for t in study.trials[:14])
    assert {t.params["c3"] for t in study.trials[14:]} >= {0, 1, 2}
    predicted = {t.number for t in study.trials if PREDICTED in t.system_attrs}
    assert predicted & set(range(14))
    assert predicted & set(range(14, 40))
    assert len({t.user_attrs[ARCHITECTURE] for t in study.trials}) == len(study.trials) == 40


def test_what_fails_beside_the_search_ends_it_with_a_sentence() -> None:
    class Broken(NearestSurrogate):
        def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
            raise ZeroDivisionError("by design")

    study = study_of(SurrogateSearch(Broken, num_startup=4, batch_size=4).sampler(PROBLEM, 0))
    with pytest.raises(StudyError, match=r"the study's strategy failed .*ZeroDivisionError: by design"):
        search_by(Several(4), study, 200)
