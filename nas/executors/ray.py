"""Workers on a Ray cluster; needs the extra ``nas[ray]``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final

from nas.errors import WorkerError, kind_and_line
from nas.executors.executor import Job, Lost, MakeWorkplace, Outcome
from nas.executors.messages import Begun, Said, outcome_of, pack, read_message
from nas.executors.ray_connection import Needs, check_creation, enter_cluster
from nas.executors.worker import Beginning, Outbox, Workbench

W = TypeVar("W")


@dataclass
class _Worker:
    actor: Any
    key: int = -1
    work: bytes = b""
    has_begun: bool = False


@final
class RayCluster(Generic[W]):
    """Actors on a Ray cluster, as many as there is room for. One that dies is replaced.

    The nodes must have the same versions of Python, Ray and ``nas`` as this machine, and the run directory and the
    study's files must have the same paths there.

    Args:
        make_workplace: Makes the workplace of a worker, in the worker's process; pickled.
        address: Address of the cluster's head, ``host:port``; ``auto`` for one that runs on this machine; ``local`` for
            one that is started here and ends with this process.
        num_cpus: CPUs of a worker, which computes with so many threads.
        num_gpus: GPUs of a worker; a part of one lets several share it.
        jobs: How many workers at most; None for as many as there is room for.

    Raises:
        WorkerError: Ray isn't installed, the cluster can't be reached or is of another version, or has no room.
    """

    def __init__(
        self,
        make_workplace: MakeWorkplace[W],
        address: str = "auto",
        num_cpus: float = 1.0,
        num_gpus: float = 0.0,
        jobs: int | None = None,
    ) -> None:
        self._beginning = Beginning.of(make_workplace)
        self._needs, self._jobs = Needs(num_cpus, num_gpus), jobs
        self._cluster = contextlib.ExitStack()
        self._ray = self._cluster.enter_context(enter_cluster(address))
        self._idle: list[_Worker] = []
        self._busy: dict[Any, _Worker] = {}
        if self._needs.room(self._ray) == 0:
            self.close()
            raise WorkerError(
                f"the Ray cluster at {address} has no room for a worker of {self._needs}: add a node, or ask for less."
            )

    @property
    def capacity(self) -> int:
        """How many workers the present nodes have room for, at least 1: without room, a job waits for a new node."""
        room = max(1, self._needs.room(self._ray))
        return room if self._jobs is None else min(room, self._jobs)

    def submit(self, job: Job[W]) -> None:
        """Give a job to a worker. A new worker gets it once it has made its workplace."""
        work = pack(job.work, "what a worker is to do")
        worker = self._idle.pop() if self._idle else self._start_worker()
        worker.key, worker.work = job.key, work
        self._call(worker)

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        """Return outcomes of jobs, and log here what their workers have logged."""
        outcomes: list[Outcome] = []
        while self._busy and not outcomes:
            ready, _ = self._ray.wait(list(self._busy), timeout=timeout_s)
            if not ready:
                break
            outcomes = [outcome for called in ready if (outcome := self._receive(called)) is not None]
        return outcomes

    def close(self) -> None:
        """Kill the workers, and disconnect from the cluster if this object has connected to it."""
        self._idle += self._busy.values()
        self._busy = {}
        self._forget_idle()
        self._cluster.close()

    def _start_worker(self) -> _Worker:
        make = self._ray.remote(_Actor).options(**self._needs.options)
        return _Worker(make.remote(self._beginning))

    def _call(self, worker: _Worker) -> None:
        """Let a worker make its workplace, or run its job.

        The job is only sent once the workplace is made. If both calls were sent together and the worker died at once,
        Ray might lose the answers to both.
        """
        with self._explain_full_store():
            called = worker.actor.do.remote(worker.work) if worker.has_begun else worker.actor.begin.remote()
        self._busy[called] = worker

    def _receive(self, called: Any) -> Outcome | None:
        """Return the outcome of a worker's job; None if the worker has just made its workplace and gets its job now."""
        worker = self._busy.pop(called)
        try:
            with self._explain_full_store():
                sent = self._ray.get(called)
        except self._ray.exceptions.RayError as error:  # of the worker, its node, or the way to it
            return self._handle_loss(worker, error)
        for message in map(read_message, sent):
            if isinstance(message, Said):
                message.pass_on()
            elif isinstance(message, Begun):
                worker.has_begun = True
                self._call(worker)
            else:
                self._idle.append(worker)
                return outcome_of(worker.key, message)
        return None

    @contextlib.contextmanager
    def _explain_full_store(self) -> Iterator[None]:
        """Within, Ray's errors about a full object store, after its disk is full too, become one sentence."""
        try:
            yield
        except (self._ray.exceptions.ObjectStoreFullError, self._ray.exceptions.OutOfDiskError) as error:
            raise WorkerError(
                f"the object store of the Ray cluster is full ({kind_and_line(error)}): begin its nodes with a larger "
                "--object-store-memory, or leave room on their disk below Ray's --temp-dir, /tmp/ray."
            ) from error

    def _handle_loss(self, worker: _Worker, error: Exception) -> Lost:
        """End a worker that can't be reached, and return that its job is lost.

        The worker is ended first, because it may still be alive behind a broken connection, and then two workers would
        run the same job. Idle workers are ended too: if their node has died, each would lose one more job.
        """
        check_creation(error)
        self._idle.append(worker)
        self._forget_idle()
        return Lost(worker.key, type(error).__name__, worker.has_begun)

    def _forget_idle(self) -> None:
        for worker in self._idle:
            with contextlib.suppress(self._ray.exceptions.RayError):  # it is gone already
                self._ray.kill(worker.actor)
        self._idle = []


class _Actor:
    """A worker on a node.

    Args:
        beginning: Makes its workplace.
    """

    def __init__(self, beginning: Beginning) -> None:
        self._said = Outbox()
        self._bench = Workbench(beginning, self._said.put)

    def begin(self) -> list[bytes]:
        """Make the workplace; return what was logged in the meantime, and whether the workplace could be made."""
        told = self._bench.begin()
        return [*self._said.take(), told]

    def do(self, work: bytes) -> list[bytes]:
        """Run a job; return what was logged in the meantime, and the job's outcome."""
        told = self._bench.do(work)
        return [*self._said.take(), told]
