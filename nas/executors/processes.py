"""Worker processes on this machine, each of which runs one job at a time."""

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

from nas.errors import WorkerError, kind_and_line
from nas.executors.executor import Job, Lost, MakeWorkplace, Outcome
from nas.executors.messages import Begun, Said, message_bytes, outcome_of, pack, read_message, unpack
from nas.executors.worker import Beginning, Workbench

W = TypeVar("W")

_THREADS, _GPUS = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection
    gpu: str | None
    key: int
    work: bytes
    has_begun: bool = False


@final
class Processes(Generic[W]):
    """Worker processes, started when they are first needed. One that dies is replaced.

    Each makes its own workplace. They end when this process ends, also if it is killed.

    Args:
        make_workplace: Makes the workplace of a worker, in the worker's process; pickled.
        jobs: How many processes.
        gpus: Names of GPUs, as in ``CUDA_VISIBLE_DEVICES``: every process sees one of them alone, the one that fewest
            others see. Without, all see what this process does.
    """

    def __init__(self, make_workplace: MakeWorkplace[W], jobs: int, gpus: Sequence[str] = ()) -> None:
        self.capacity = jobs
        self._beginning = message_bytes(Beginning.of(make_workplace))
        self._gpus = tuple(gpus)
        self._context = multiprocessing.get_context("spawn")
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def submit(self, job: Job[W]) -> None:
        """Give a job to a worker. A new worker gets it once it has made its workplace."""
        work = pack(job.work, "what a worker is to do")
        while self._idle:
            # Among the busy ones before it is sent anything: close() ends it, whatever comes between.
            worker = self._idle.pop()
            self._busy.append(worker)
            worker.key, worker.work = job.key, work
            with contextlib.suppress(OSError):  # it died while it had nothing to do, and loses nothing
                worker.connection.send_bytes(work)
                return
            self._bury(worker)
        self._start_worker(job.key, work)

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        """Return outcomes of jobs, and log here what workers have logged in the meantime."""
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
        """Kill the workers. That is safe, because files that they write are complete or absent."""
        self._busy, self._idle = [*self._idle, *self._busy], []
        for worker in self._busy:
            worker.process.kill()
        for worker in list(self._busy):
            self._bury(worker)

    def _start_worker(self, key: int, work: bytes) -> None:
        gpu = self._free_gpu()
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,))
        try:
            with theirs, _environment(self.capacity, gpu):  # which is closed here, so that its end is noticed
                process.start()
        except OSError as error:
            ours.close()
            raise WorkerError(
                f"no process can be begun ({kind_and_line(error)}): give fewer --jobs, or let this user have more "
                "processes, memory and open files."
            ) from error
        self._busy.append(_Worker(process, ours, gpu, key, work))
        # Not among the arguments of the process: a large one is written to a pipe that never breaks, and a worker
        # which dies before it reads that would be waited for forever.
        with contextlib.suppress(OSError):  # it is dead: collect() tells
            ours.send_bytes(self._beginning)

    def _free_gpu(self) -> str | None:
        taken = [worker.gpu for worker in (*self._idle, *self._busy)]
        return min(self._gpus, key=taken.count, default=None)

    def _receive(self, worker: _Worker) -> list[Outcome]:
        """Return the outcome that a worker's message stands for; None if the message is only a log line."""
        try:
            sent = worker.connection.recv_bytes()
        except (EOFError, OSError):  # also in the middle of a message, so what it had done is done again
            return [Lost(worker.key, self._bury(worker), worker.has_begun)]
        message = read_message(sent)
        if isinstance(message, Said):
            message.pass_on()
            return []
        if isinstance(message, Begun):
            # Only now, as a worker that makes its workplace reads nothing: it may log more than the connection holds
            # while a job is sent that is larger than that, and both would wait for the other.
            with contextlib.suppress(OSError):  # it died since, not at the job; the next message tells
                worker.connection.send_bytes(worker.work)
                worker.has_begun = True
            return []
        self._busy.remove(worker)
        self._idle.append(worker)
        return [outcome_of(worker.key, message)]

    def _bury(self, worker: _Worker) -> str:
        """Remove a worker that is dead or about to die, and return how it ended."""
        self._busy.remove(worker)
        worker.connection.close()
        worker.process.join()
        code = worker.process.exitcode or 0
        worker.process.close()
        return f"by signal {-code}" if code < 0 else f"with exit code {code}"


@contextlib.contextmanager
def _environment(workers: int, gpu: str | None) -> Iterator[None]:
    """Within, a process that is started computes with its share of the cores, unless told otherwise, and on one GPU.

    This is set in environment variables, because libraries read them when they are imported.
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


def _serve(connection: Connection) -> None:
    """Run jobs until the process that sends them has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that gives the jobs
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # A process that a job forks, as torch's data loader does, would keep the connection open after this one's death,
    # which nobody would notice then; and what it logs would get between two halves of a message.
    os.register_at_fork(after_in_child=connection.close)
    lock = threading.Lock()

    def send(message: bytes) -> None:
        with lock:
            connection.send_bytes(message)

    with contextlib.suppress(EOFError, OSError):  # who gives the jobs is gone, with answers unread or without
        bench = Workbench(unpack(connection.recv_bytes()), send)
        send(bench.begin())
        while True:
            send(bench.do(connection.recv_bytes()))


def _die_with_parent() -> None:
    """Let this process end when the one that started it ends, so that two runs never write the same files."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
