"""A Ray of one node on this machine, which can't be kept from listening beyond loopback; its tokens are on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import jobs
import pytest

from nas.errors import WorkerError
from nas.executors import Failed, Job, Lost, Persistent, all_done
from nas.executors.ray import RayCluster, check_cluster

ray: Any = pytest.importorskip("ray")

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


@pytest.fixture(scope="module")
def executor(cluster: None) -> Iterator[RayCluster[int]]:
    with closing(RayCluster(jobs.make_ten)) as made:
        yield made


def test_several_work_at_the_same_time_and_more_than_there_is_room_for(executor: RayCluster[int]) -> None:
    assert executor.capacity == 2
    works = [partial(jobs.add, number) for number in range(5)]
    assert all_done(Persistent(executor), works) == [10, 11, 12, 13, 14]


def test_a_failure_is_the_job_s_and_what_is_logged_is_logged_here(
    executor: RayCluster[int], caplog: pytest.LogCaptureFixture
) -> None:
    executor.submit(Job(0, jobs.stub))
    (outcome,) = executor.finished(None)
    assert isinstance(outcome, Failed)
    assert f"{type(outcome.error).__name__}: {outcome.error}" == "StubbornError: 7 was an accident"
    all_done(Persistent(executor), [jobs.warn])
    assert ("nas.far_away", 30, "it is 10") in caplog.record_tuples


def test_a_worker_that_dies_is_replaced_and_its_job_done_again(
    executor: RayCluster[int], tmp_path: Path
) -> None:
    executor.submit(Job(0, jobs.die))
    assert executor.finished(None) == [Lost(0, "ActorDiedError")]
    assert all_done(Persistent(executor), [partial(jobs.die_at_first, tmp_path, 1)]) == [10]


def test_a_death_before_there_is_a_workplace_is_none_of_the_job_s(cluster: None, tmp_path: Path) -> None:
    with closing(RayCluster(partial(jobs.make_ten_at_last, tmp_path, 1), jobs=1)) as executor:
        executor.submit(Job(0, partial(jobs.add, 1)))
        assert executor.finished(None) == [Lost(0, "ActorDiedError", begun=False)]
        assert all_done(Persistent(executor, home=7), [partial(jobs.half_done, 3)]) == [317]


def test_a_worker_that_can_not_begin_is_told_in_a_sentence(cluster: None) -> None:
    with closing(RayCluster(jobs.make_nothing)) as executor:
        executor.submit(Job(0, partial(jobs.add, 1)))
        with pytest.raises(
            WorkerError, match=r"a worker can't begin .ModuleNotFoundError: No module named 'away'"
        ):
            executor.finished(None)


def test_a_worker_that_no_node_has_room_for_is_refused(cluster: None) -> None:
    with pytest.raises(WorkerError, match="has no room for a worker of 64 CPUs"):
        RayCluster(jobs.make_ten, num_cpus=64)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "10.0.0.1:none"])
def test_where_nothing_listens_is_told_at_once(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(WorkerError, match=f"no Ray cluster listens at {address}"):
        RayCluster(jobs.make_ten, address)


def test_an_address_is_tried_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(WorkerError, match=r"no Ray cluster listens at 127\.0\.0\.1:9"):
        check_cluster("127.0.0.1:9")
