"""Several processes of this machine, each with one job at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar, final

from nas.executors.executor import Job, Lost, MakeWorkplace, Outcome
from nas.executors.messages import (
    Beginning,
    Begun,
    Message,
    Said,
    answer,
    message_bytes,
    outcome_of,
    pack,
    tell_of_logs,
    unpack,
)

W = TypeVar("W")

_THREADS, _GPUS = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    gpu: str | None
    key: int = -1
    has_begun: bool = False


@final
class Processes(Generic[W]):
    """Worker processes, begun when they are first needed; one that dies is replaced.

    Each makes a workplace for itself. They die with this process, whatever ends it.

    Args:
        make_workplace: What every worker has at its place; pickled.
        jobs: How many processes.
        gpus: Names of GPUs, as in ``CUDA_VISIBLE_DEVICES``: every process sees one of them alone, the one that fewest
            others see. Without, all see what this process does.
    """

    def __init__(self, make_workplace: MakeWorkplace[W], jobs: int, gpus: Sequence[str] = ()) -> None:
        self.capacity = jobs
        self._beginning = Beginning.of(make_workplace)
        self._gpus = tuple(gpus)
        self._context = multiprocessing.get_context("spawn")
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def submit(self, job: Job[W]) -> None:
        """Give a job to a worker."""
        message = pack(job.work, "what a worker is to do")
        while True:
            worker = self._idle.pop() if self._idle else self._start_worker()
            worker.key = job.key
            with contextlib.suppress(OSError):  # it died while it had nothing to do
                worker.connection.send_bytes(message)
                self._busy.append(worker)
                return
            _bury(worker)

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        """Return what became of jobs, and pass on what workers said meanwhile."""
        outcomes: list[Outcome] = []
        while self._busy and not outcomes:
            by_connection = {worker.connection: worker for worker in self._busy}
            ready = wait(list(by_connection), timeout_s)
            if not ready:
                break
            for connection in ready:
                assert isinstance(connection, Connection)
                outcomes += self._receive(by_connection[connection])
        return outcomes

    def close(self) -> None:
        """Kill the workers. What they write is whole or absent."""
        workers, self._idle, self._busy = [*self._idle, *self._busy], [], []
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            _bury(worker)

    def _start_worker(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        gpu = self._free_gpu()
        process = self._context.Process(target=_serve, args=(theirs, self._beginning))
        with _environment(self.capacity, gpu):
            process.start()
        theirs.close()  # so that its end is noticed
        return _Worker(process, ours, gpu)

    def _free_gpu(self) -> str | None:
        taken = [worker.gpu for worker in (*self._idle, *self._busy)]
        return min(self._gpus, key=taken.count, default=None)

    def _receive(self, worker: _Worker) -> list[Outcome]:
        """Return what a message means for the worker's job: nothing yet, where it only says something."""
        try:
            message: Message = unpack(worker.connection.recv_bytes())
        except (EOFError, OSError):
            self._busy.remove(worker)
            return [Lost(worker.key, _bury(worker), worker.has_begun)]
        if isinstance(message, Said):
            message.pass_on()
            return []
        if isinstance(message, Begun):
            worker.has_begun = True
            return []
        outcome = outcome_of(worker.key, message)
        self._busy.remove(worker)
        self._idle.append(worker)
        return [outcome]


def _bury(worker: _Worker) -> str:
    """Return how a worker ended that is dead or about to be."""
    worker.connection.close()
    worker.process.join()
    code = worker.process.exitcode or 0
    worker.process.close()
    return f"by signal {-code}" if code < 0 else f"with exit code {code}"


@contextlib.contextmanager
def _environment(workers: int, gpu: str | None) -> Iterator[None]:
    """Let a process that is begun compute on its share of the cores, unless told otherwise, and on one GPU.

    By the environment, because libraries read it when they are imported.
    """
    wanted = {_THREADS: os.environ.get(_THREADS, str(max(1, (os.cpu_count() or 1) // workers)))}
    if gpu is not None:
        wanted[_GPUS] = gpu
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, beginning: Beginning) -> None:
    """Do jobs until the process that gives them is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that gives the jobs
    threading.Thread(target=_die_with_parent, daemon=True).start()
    lock = threading.Lock()

    def send(message: bytes) -> None:
        with lock:
            connection.send_bytes(message)

    tell_of_logs(send, beginning.level)
    workplace, told = beginning.begin()
    send(message_bytes(told))
    while isinstance(told, Begun):
        try:
            work = connection.recv_bytes()
        except EOFError:
            return
        send(answer(work, workplace))


def _die_with_parent() -> None:
    """End this process with the one that began it, so that two never work on the same files."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
