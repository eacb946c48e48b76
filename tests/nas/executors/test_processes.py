from __future__ import annotations

import contextlib
import errno
import multiprocessing
import multiprocessing.spawn
import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path

import jobs
import psutil
import pytest

from nas.errors import WorkerError
from nas.executors import Done, Failed, Job, Lost, Persistent, Processes, run_all
from nas.executors.processes import _Worker

PATIENCE_S = 600
"""How long a test waits for what would never come if it failed: a new process imports torch first."""


def kill(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()


def test_several_work_at_the_same_time_and_the_first_that_ends_is_told_first(tmp_path: Path) -> None:
    with closing(Processes(jobs.make_ten, 2)) as executor:
        for key in range(2):
            executor.submit(Job(key, partial(jobs.wait_for, tmp_path / str(key), key)))
        assert executor.collect(0.0) == []
        (tmp_path / "1").touch()
        assert executor.collect(None) == [Done(1, 1)]
        (tmp_path / "0").touch()
        assert executor.collect(None) == [Done(0, 0)]


def test_a_worker_that_dies_loses_its_job_alone_and_is_replaced(tmp_path: Path) -> None:
    with closing(Processes(jobs.make_ten, 2)) as executor:
        executor.submit(Job(0, partial(jobs.wait_for, tmp_path / "go", 0)))
        executor.submit(Job(1, jobs.die))
        assert executor.collect(None) == [Lost(1, "by signal 9")]
        executor.submit(Job(2, partial(jobs.add, 1)))
        assert executor.collect(None) == [Done(2, 11)]
        (tmp_path / "go").touch()
        assert executor.collect(None) == [Done(0, 0)]


def test_a_worker_that_dies_idle_loses_nothing() -> None:
    with closing(Processes(jobs.make_ten, 1)) as executor:
        executor.submit(Job(0, jobs.process_id))
        (outcome,) = executor.collect(None)
        assert isinstance(outcome, Done)
        worker = psutil.Process(int(str(outcome.value)))
        worker.kill()
        while worker.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert run_all(Persistent(executor), [partial(jobs.add, 1)]) == [11]


def test_what_was_sent_before_a_worker_died_is_not_lost() -> None:
    with closing(Processes(jobs.make_ten, 1)) as executor:
        executor.submit(Job(0, partial(jobs.add, 1)))
        (worker,) = executor._busy
        assert worker.connection.poll(None)
        assert executor._receive(worker) == []  # it has begun, and gets its job
        assert worker.connection.poll(None)  # which is done
        kill(worker)
        assert executor.collect(None) == [Done(0, 11)]
        executor.submit(Job(1, partial(jobs.add, 2)))
        assert executor.collect(None) == [Done(1, 12)]


def test_a_worker_that_dies_in_the_middle_of_its_answer_loses_its_job() -> None:
    with closing(Processes(jobs.make_ten, 1)) as executor:
        executor.submit(Job(0, partial(jobs.add, 1)))
        (worker,) = executor._busy
        kill(worker)
        worker.connection.close()
        worker.connection, other = multiprocessing.Pipe()
        os.write(
            other.fileno(), struct.pack("!i", 100) + b"half of it"
        )  # as a connection writes: size and content
        other.close()
        assert executor.collect(None) == [Lost(0, "by signal 9", begun=False)]


def test_a_worker_that_dies_between_its_beginning_and_its_job_did_not_die_at_the_job() -> None:
    with closing(Processes(jobs.make_ten, 1)) as executor:
        executor.submit(Job(0, partial(jobs.add, 1)))
        (worker,) = executor._busy
        assert worker.connection.poll(None)  # it says that it has begun
        kill(worker)
        assert executor.collect(None) == [Lost(0, "by signal 9", begun=False)]


def test_a_worker_that_dies_before_it_reads_what_it_begins_with_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multiprocessing.spawn, "_python_exe", b"/bin/false")
    with closing(Processes(partial(jobs.make_ten_from, bytes(2**20)), 1)) as executor:
        executor.submit(Job(0, partial(jobs.add, 1)))
        assert executor.collect(None) == [Lost(0, "with exit code 1", begun=False)]


def test_a_process_that_a_worker_leaves_behind_does_not_hide_its_death(tmp_path: Path) -> None:
    with closing(Processes(jobs.make_ten, 1)) as executor:
        executor.submit(Job(0, partial(jobs.fork_and_die, tmp_path / "go")))
        try:
            assert executor.collect(PATIENCE_S) == [Lost(0, "by signal 9")]
        finally:
            (tmp_path / "go").touch()


def test_a_worker_that_logs_much_while_much_is_sent_to_it_is_heard() -> None:
    with closing(Processes(partial(jobs.make_ten_loudly, 2**20), 1)) as executor:
        executor.submit(Job(0, partial(jobs.add_size, bytes(2**20))))
        assert executor.collect(None) == [Done(0, 10 + 2**20)]


def test_where_no_process_can_be_begun_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(SpawnProcess, "start", start)
    with closing(Processes(jobs.make_ten, 2)) as executor, pytest.raises(WorkerError) as told:
        executor.submit(Job(0, partial(jobs.add, 1)))
    assert str(told.value).startswith("no process can be begun (BlockingIOError: ")


def test_what_was_lost_is_done_again(tmp_path: Path) -> None:
    with closing(Processes(jobs.make_ten, 1)) as executor:
        assert run_all(Persistent(executor), [partial(jobs.die_at_first, tmp_path, 1)]) == [10]


def test_deaths_before_there_is_a_workplace_are_none_of_the_job_s(tmp_path: Path) -> None:
    with closing(Processes(partial(jobs.make_ten_at_last, tmp_path, 1), 1)) as executor:
        assert run_all(Persistent(executor), [partial(jobs.add, 1)]) == [11]


def test_every_process_sees_one_gpu_and_its_successor_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with closing(Processes(jobs.make_ten, 3, gpus=("4", "GPU-7"))) as executor:
        persistent = Persistent(executor)
        for key in range(3):
            persistent.submit(Job(key, partial(jobs.gpus_once, tmp_path / "go")))
        executor._busy[1].process.kill()
        assert persistent.collect(None) == []  # it is replaced
        (tmp_path / "go").touch()
        told: list[Done | Failed] = []
        while len(told) < 3:
            told += persistent.collect(None)
    seen = [outcome.value for outcome in told if isinstance(outcome, Done)]
    assert len(dict(seen)) == 3
    assert sorted(dict(seen).values()) == ["4", "4", "GPU-7"]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_the_first_failure_of_several_things_is_raised() -> None:
    with closing(Processes(jobs.make_ten, 2)) as executor, pytest.raises(ZeroDivisionError):
        run_all(Persistent(executor), [jobs.divide, partial(jobs.add, 1)])


def test_a_worker_that_can_not_begin_is_told_in_a_sentence() -> None:
    with closing(Processes(jobs.make_nothing, 1)) as executor:
        executor.submit(Job(0, partial(jobs.add, 1)))
        with pytest.raises(
            WorkerError, match=r"a worker can't begin .ModuleNotFoundError: No module named 'away'"
        ):
            executor.collect(None)


def test_what_can_not_be_sent_back_is_a_failure() -> None:
    with closing(Processes(jobs.make_ten, 1)) as executor:
        executor.submit(Job(0, jobs.not_sent_back))
        (outcome,) = executor.collect(None)
        assert isinstance(outcome, Failed)
        assert "what came out of a job can't be sent" in str(outcome.error)


def test_workers_share_the_cores_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    with closing(Processes(jobs.make_ten, 4)) as executor:
        assert run_all(Persistent(executor), [jobs.threads]) == ["2"]
    assert "OMP_NUM_THREADS" not in os.environ


def test_workers_die_with_the_process_that_gives_the_work_however_long_their_jobs_take(
    tmp_path: Path,
) -> None:
    begun = tmp_path / "begun"
    code = f"""
import sys; sys.path.insert(0, {str(Path(jobs.__file__).parent)!r})
import multiprocessing, os, signal, jobs
from functools import partial
from pathlib import Path
from nas.executors import Processes, Job
executor = Processes(jobs.make_ten, 1)
executor.submit(Job(0, partial(jobs.touch_and_go_on, Path({str(begun)!r}))))
while not Path({str(begun)!r}).exists():
    executor.collect(0.01)
print(multiprocessing.active_children()[0].pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == -signal.SIGKILL, told.stderr
    with contextlib.suppress(psutil.NoSuchProcess):  # it is gone already
        psutil.Process(int(told.stdout)).wait(timeout=PATIENCE_S)  # its job would never end


def test_nothing_is_left_behind_after_it_is_closed(tmp_path: Path) -> None:
    before = multiprocessing.active_children()
    executor = Processes(jobs.make_ten, 2)
    executor.submit(Job(0, partial(jobs.wait_for, tmp_path / "never", 0)))
    executor.close()
    assert set(multiprocessing.active_children()) <= set(before)
