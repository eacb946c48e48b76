"""A Ray cluster: the extra ``nas[ray]``."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final

from nas.errors import WorkerError, kind_and_line
from nas.executors.executor import Job, Lost, MakeWorkplace, Outcome
from nas.executors.messages import (
    Beginning,
    Begun,
    answer,
    message_bytes,
    outcome_of,
    pack,
    tell_of_logs,
    unpack,
)

W = TypeVar("W")

_CONNECT_S = 5.0
"""Ray itself tries for minutes where nothing listens."""
_NO_TOKEN = "InvalidAuthToken"
"""Ray says it somewhere in what it raises."""


@final
@dataclass(frozen=True)
class Needs:
    """What a process needs of a node.

    Args:
        num_cpus: It computes with so many threads.
        num_gpus: A part of one lets several share it.
    """

    num_cpus: float
    num_gpus: float

    def __str__(self) -> str:
        return f"{self.num_cpus:g} CPUs and {self.num_gpus:g} GPUs"

    @property
    def of_ray(self) -> dict[str, float]:
        """By Ray's names of resources; it allows none of 0."""
        return {name: number for name, number in (("CPU", self.num_cpus), ("GPU", self.num_gpus)) if number}

    @property
    def options(self) -> dict[str, Any]:
        """Of an actor."""
        return {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus}

    def room(self, ray: Any) -> int:
        """Return how many such processes the nodes that are there now have room for."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return sum(
            min(int(node.get(name, 0.0) / needed) for name, needed in self.of_ray.items()) for node in nodes
        )


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
        return _Worker(make.remote(self._beginning, os.getcwd(), sys.path))

    def _call(self, worker: _Worker) -> None:
        """Let a worker begin, or do its job.

        The job is sent after the worker has begun, and not along with the call to begin: where a worker dies at once,
        Ray may lose the answers to both.
        """
        with self._fullness_told():
            called = worker.actor.do.remote(worker.work) if worker.has_begun else worker.actor.begin.remote()
        self._busy[called] = worker

    def _receive(self, called: Any) -> Outcome | None:
        """Return what became of a worker's job; nothing where the worker has only begun, and gets the job now."""
        worker = self._busy.pop(called)
        try:
            with self._fullness_told():
                *said, last = [unpack(message) for message in self._ray.get(called)]
        except self._ray.exceptions.RayError as error:  # of the worker, its node, or the way to it
            return self._handle_loss(worker, error)
        for message in said:
            message.pass_on()
        if isinstance(last, Begun):
            worker.has_begun = True
            self._call(worker)
            return None
        self._idle.append(worker)
        return outcome_of(worker.key, last)

    @contextlib.contextmanager
    def _fullness_told(self) -> Iterator[None]:
        """Tell in a sentence that what goes between processes finds no room; Ray uses the disk before it says so."""
        try:
            yield
        except (self._ray.exceptions.ObjectStoreFullError, self._ray.exceptions.OutOfDiskError) as error:
            raise WorkerError(
                f"the object store of the Ray cluster is full ({kind_and_line(error)}): begin its nodes with a larger "
                "--object-store-memory, or leave room on their disk below Ray's --temp-dir, /tmp/ray."
            ) from error

    def _handle_loss(self, worker: _Worker, error: Exception) -> Lost:
        if getattr(error, "_actor_init_failed", False):
            raise WorkerError(
                f"a worker can't begin on the Ray cluster ({kind_and_line(error)}): install on its nodes what is "
                "installed here."
            )
        self._idle.append(worker)
        self._forget_idle()  # where its node died they did too, and the next job would be lost to each of them
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
        folder: That the run was begun in.
        paths: Folders that its code is imported from.
    """

    def __init__(self, beginning: Beginning, folder: str, paths: Sequence[str]) -> None:
        self._beginning = beginning
        self._workplace: object = None
        self._said: list[bytes] = []
        go_to(folder, paths)
        tell_of_logs(self._said.append, beginning.level)

    def begin(self) -> list[bytes]:
        """Make the workplace, and return what was said meanwhile, and whether there is one now."""
        self._workplace, told = self._beginning.begin()
        return self._with_said(message_bytes(told))

    def do(self, work: bytes) -> list[bytes]:
        """Return what was said meanwhile, and what came out."""
        return self._with_said(answer(work, self._workplace))

    def _with_said(self, last: bytes) -> list[bytes]:
        said, self._said[:] = list(self._said), []
        return [*said, last]


def go_to(folder: str, paths: Sequence[str]) -> None:
    """Let code of the process that runs a study be found by this one.

    Args:
        folder: That the run was begun in.
        paths: Folders that its code is imported from.
    """
    with contextlib.suppress(OSError):  # where it isn't there, whatever needs it says so
        os.chdir(folder)
    sys.path += [path for path in paths if path not in sys.path]


def check_cluster(address: str) -> None:
    """Enter a cluster and leave it, to hear before a training, and not after it, that it can't be used.

    Raises:
        WorkerError: Ray isn't installed, or the cluster can't be reached or is of another version.
    """
    if address != "local":
        with enter_cluster(address):
            pass


@contextlib.contextmanager
def enter_cluster(address: str) -> Iterator[Any]:
    """Within, this process is on a cluster: one that it was on before, or that at an address. Yields Ray.

    Raises:
        WorkerError: Ray isn't installed, or the cluster can't be reached or is of another version.
    """
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise WorkerError("Ray isn't installed here: pip install 'nas[ray]'.") from error
    if ray.is_initialized():
        yield ray
        return
    _enter(ray, address)
    try:
        yield ray
    finally:
        ray.shutdown()


def _enter(ray: Any, address: str) -> None:
    if ":" in address:
        _check_listening(address)
    own: dict[str, Any] = {}
    if address == "local":
        own = {"include_dashboard": False}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers unless told not to
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, logging_level=logging.WARNING, **own)
    except Exception as error:  # Ray raises many kinds
        if _NO_TOKEN in f"{error} {error.__cause__}":
            raise WorkerError(
                f"the Ray cluster at {address} asks for a token: bring ~/.ray/auth_token of its head here, and set "
                "RAY_AUTH_MODE=token."
            ) from error
        raise WorkerError(
            f"the Ray cluster at {address} can't be used ({kind_and_line(error)}): begin one with 'ray start --head', "
            "of the versions of Ray and Python that are here."
        ) from error
    if threading.current_thread() is threading.main_thread():
        # Ray sets its own, with which a run wouldn't put things down.
        signal.signal(signal.SIGTERM, on_sigterm)


def _check_listening(address: str) -> None:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise WorkerError(
            f"no Ray cluster listens at {address} ({kind_and_line(error)}): give the host and the port of its head, "
            "such as 10.0.0.1:6379, or auto on a machine of the cluster."
        ) from error
