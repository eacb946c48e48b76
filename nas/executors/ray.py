"""A Ray cluster: the extra ``nas[ray]``."""

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
    """Actors on a Ray cluster, as many as there is room for; one that dies is replaced.

    The nodes have the versions of Python, Ray and ``nas`` that are here, and see the run directory and the study's
    files under the paths that these have here.

    Args:
        make_workplace: What every worker has at its place; pickled.
        address: Address of the cluster's head, ``host:port``; ``auto`` for one that runs on this machine; ``local`` for
            one that is begun here and ends with this process.
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
        """How many workers the nodes that are there now have room for; where none has, a job waits for a node."""
        room = max(1, self._needs.room(self._ray))
        return room if self._jobs is None else min(room, self._jobs)

    def submit(self, job: Job[W]) -> None:
        """Give a job to a worker; a new one gets it when it has made its workplace."""
        work = pack(job.work, "what a worker is to do")
        worker = self._idle.pop() if self._idle else self._start_worker()
        worker.key, worker.work = job.key, work
        self._call(worker)

    def collect(self, timeout_s: float | None) -> Sequence[Outcome]:
        """Return what became of jobs, and pass on what their workers said."""
        outcomes: list[Outcome] = []
        while self._busy and not outcomes:
            ready, _ = self._ray.wait(list(self._busy), timeout=timeout_s)
            if not ready:
                break
            outcomes = [outcome for called in ready if (outcome := self._receive(called)) is not None]
        return outcomes

    def close(self) -> None:
        """Kill the workers, and leave a cluster that was entered here."""
        self._idle += self._busy.values()
        self._busy = {}
        self._forget_idle()
        self._cluster.close()

    def _start_worker(self) -> _Worker:
        make = self._ray.remote(_Actor).options(**self._needs.options)
        return _Worker(make.remote(self._beginning))

    def _call(self, worker: _Worker) -> None:
        """Let a worker begin, or do its job.

        The job is sent after the worker has begun, and not along with the call to begin: where a worker dies at once,
        Ray may lose the answers to both.
        """
        with self._explain_full_store():
            called = worker.actor.do.remote(worker.work) if worker.has_begun else worker.actor.begin.remote()
        self._busy[called] = worker

    def _receive(self, called: Any) -> Outcome | None:
        """Return what became of a worker's job; nothing where the worker has only begun, and gets the job now."""
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
        """Tell in a sentence that what goes between processes finds no room; Ray uses the disk before it says so."""
        try:
            yield
        except (self._ray.exceptions.ObjectStoreFullError, self._ray.exceptions.OutOfDiskError) as error:
            raise WorkerError(
                f"the object store of the Ray cluster is full ({kind_and_line(error)}): begin its nodes with a larger "
                "--object-store-memory, or leave room on their disk below Ray's --temp-dir, /tmp/ray."
            ) from error

    def _handle_loss(self, worker: _Worker, error: Exception) -> Lost:
        """Return that a worker's job is lost, once the worker is told to end.

        In this order, because it may be alive behind a connection that broke: it must not go on beside the one that
        gets its job next. Idle ones end too: where its node died they did, and the next job would be lost to each.
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
        beginning: What it begins with.
    """

    def __init__(self, beginning: Beginning) -> None:
        self._said = Outbox()
        self._bench = Workbench(beginning, self._said.put)

    def begin(self) -> list[bytes]:
        """Make the workplace, and return what was said meanwhile, and whether there is one now."""
        told = self._bench.begin()
        return [*self._said.take(), told]

    def do(self, work: bytes) -> list[bytes]:
        """Return what was said meanwhile, and what came out."""
        told = self._bench.do(work)
        return [*self._said.take(), told]
