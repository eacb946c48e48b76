"""A Ray of one node on this machine, which can't be kept from listening beyond loopback; its tokens are on."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import jobs
import psutil
import pytest
from fakes import Listener

from nas.errors import WorkerError
from nas.executors import Done, Failed, Job, Lost, Outcome, Persistent, run_all
from nas.executors.ray import RayCluster
from nas.executors.ray_ranks import RayRanks

ray: Any = pytest.importorskip("ray")

PATIENCE_S = 600
"""How long a test waits for what would never come if it failed."""

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=80 * 2**20,
        include_dashboard=False,
        logging_level="error",
        _node_ip_address="127.0.0.1",
    )
    yield
    ray.shutdown()


@pytest.fixture
def executor(cluster: None) -> Iterator[RayCluster[int]]:
    with closing(RayCluster(jobs.make_ten)) as made:
        yield made


def test_several_work_at_the_same_time_and_more_than_there_is_room_for(executor: RayCluster[int]) -> None:
    assert executor.capacity == 2
    works = [partial(jobs.add, number) for number in range(5)]
    assert run_all(Persistent(executor), works) == [10, 11, 12, 13, 14]


def test_a_failure_is_the_job_s_and_what_is_logged_is_logged_here(
    executor: RayCluster[int], caplog: pytest.LogCaptureFixture
) -> None:
    executor.submit(Job(0, jobs.stub))
    (outcome,) = executor.collect(None)
    assert isinstance(outcome, Failed)
    assert f"{type(outcome.error).__name__}: {outcome.error}" == "StubbornError: 7 was an accident"
    run_all(Persistent(executor), [jobs.warn])
    assert ("nas.far_away", 30, "it is 10") in caplog.record_tuples


def test_a_worker_that_dies_is_replaced_and_its_job_done_again(
    executor: RayCluster[int], tmp_path: Path
) -> None:
    executor.submit(Job(0, jobs.die))
    assert executor.collect(None) == [Lost(0, "ActorDiedError")]
    assert run_all(Persistent(executor), [partial(jobs.die_at_first, tmp_path, 1)]) == [10]


def test_a_worker_whose_answer_is_lost_on_its_way_is_ended_before_another_gets_its_job(
    executor: RayCluster[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(_: object) -> None:
        raise ray.exceptions.ActorUnavailableError("the connection broke", None)

    executor.submit(Job(0, jobs.process_id))
    (first,) = executor.collect(None)
    assert isinstance(first, Done)
    executor.submit(Job(1, jobs.process_id))
    with monkeypatch.context() as patched:
        patched.setattr(ray, "get", lose)
        assert executor.collect(None) == [Lost(1, "ActorUnavailableError")]
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(cast(int, first.value)).wait(PATIENCE_S)
    executor.submit(Job(1, jobs.process_id))
    (second,) = executor.collect(None)
    assert isinstance(second, Done)
    assert second.value != first.value


def test_workers_that_died_together_lose_a_job_once(cluster: None, tmp_path: Path) -> None:
    with closing(RayCluster(jobs.make_ten)) as executor:
        for key in range(2):
            executor.submit(Job(key, partial(jobs.gpus_once, tmp_path / "go")))
        (tmp_path / "go").touch()
        told: list[Outcome] = []
        while len(told) < 2:
            told += executor.collect(None)
        for outcome in told:
            assert isinstance(outcome, Done)
            os.kill(cast(tuple[int, str], outcome.value)[0], signal.SIGKILL)
        executor.submit(Job(0, partial(jobs.add, 1)))
        assert isinstance(executor.collect(None)[0], Lost)
        executor.submit(Job(0, partial(jobs.add, 1)))
        assert executor.collect(None) == [Done(0, 11)]


def test_a_death_before_there_is_a_workplace_is_none_of_the_job_s(cluster: None, tmp_path: Path) -> None:
    with closing(RayCluster(partial(jobs.make_ten_at_last, tmp_path, 1), jobs=1)) as executor:
        executor.submit(Job(0, partial(jobs.add, 1)))
        assert executor.collect(None) == [Lost(0, "ActorDiedError", begun=False)]
        assert run_all(Persistent(executor, home=7), [partial(jobs.half_done, 3)]) == [317]


def test_several_do_one_thing_together_and_begin_again_when_one_dies(
    cluster: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Listener()
    RayRanks("auto", 2).run(partial(jobs.meet, tmp_path), heard)
    assert {"0 of 2", "1 of 2"} <= {mark.name for mark in tmp_path.iterdir()}
    assert heard.steps[-1] == ("meet", "0")
    assert "died (ActorDiedError): all begin again" in caplog.text
    assert ("nas.far_away", 30, "at tcp") in caplog.record_tuples


def test_what_one_of_several_raises_is_raised_here(cluster: None) -> None:
    with pytest.raises((ConnectionError, ValueError), match=r"closed by peer|no more"):
        RayRanks("auto", 2).run(jobs.quarrel, Listener())


def test_several_that_there_is_no_room_for_are_refused(cluster: None) -> None:
    with pytest.raises(WorkerError, match="no room for 3 processes of 1 CPUs and 0 GPUs"):
        RayRanks("auto", 3).run(jobs.quarrel, Listener())


@pytest.mark.parametrize("kind", ["ObjectStoreFullError", "OutOfDiskError"])
def test_a_full_object_store_is_told_in_a_sentence(
    executor: RayCluster[int], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def full(_: object) -> None:
        raise getattr(ray.exceptions, kind)("no room for 200 MB")

    executor.submit(Job(0, partial(jobs.add, 1)))
    with monkeypatch.context() as patched:
        patched.setattr(ray, "get", full)
        with pytest.raises(WorkerError, match="the object store of the Ray cluster is full"):
            executor.collect(None)


def test_a_worker_that_can_not_begin_is_told_in_a_sentence(cluster: None) -> None:
    with closing(RayCluster(jobs.make_nothing)) as executor:
        executor.submit(Job(0, partial(jobs.add, 1)))
        with pytest.raises(
            WorkerError, match=r"a worker can't begin .ModuleNotFoundError: No module named 'away'"
        ):
            executor.collect(None)


def test_a_worker_that_no_node_has_room_for_is_refused(cluster: None) -> None:
    with pytest.raises(WorkerError, match="has no room for a worker of 64 CPUs"):
        RayCluster(jobs.make_ten, num_cpus=64)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "10.0.0.1:none"])
def test_where_nothing_listens_is_told_at_once(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(WorkerError, match=f"no Ray cluster listens at {address}"):
        RayCluster(jobs.make_ten, address)
