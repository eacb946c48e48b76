"""Processes on a Ray cluster that do one thing together, such as training a network."""

from __future__ import annotations

import contextlib
import importlib
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

from nas.errors import WorkerError
from nas.executors.executor import Failed
from nas.executors.messages import Fault, Said, message_bytes, outcome_of, pack, read_message, unpack
from nas.executors.persistent import MAX_RETRIES
from nas.executors.ray_connection import Needs, check_creation, enter_cluster
from nas.executors.worker import Origin, Outbox, run_sent_job
from nas.progress import Progress

logger = logging.getLogger(__name__)

_PATIENCE_S = 10.0
_POLL_S = 1.0
"""Progress is seen a second late."""
_LAST_WORDS_S = 10.0
"""When one dies, the others notice a broken connection first: so long is waited for which of them it was."""


@final
@dataclass(frozen=True)
class Seat:
    """What one of the processes needs to know.

    Args:
        rank: Its number, from 0.
        size: Number of processes.
        url: Address on rank 0's machine at which they connect to each other.
        progress: Listener; only what rank 0 reports is passed on.
    """

    rank: int
    size: int
    url: str
    progress: Progress


Together = Callable[[Seat], object]
"""What each of them does; pickled."""


@final
@dataclass(frozen=True)
class RayRanks:
    """Processes on a Ray cluster that work together, each on its own node as far as there are enough nodes.

    When one dies all are started again, up to three times; a training goes on from its last checkpoint.

    Args:
        address: Address of the cluster, as for :class:`nas.executors.ray.RayCluster`.
        size: Number of processes.
        num_cpus: CPUs of each process.
        num_gpus: GPUs of each process.
    """

    address: str
    size: int
    num_cpus: float = 1.0
    num_gpus: float = 0.0

    def run(self, work: Together, progress: Progress) -> None:
        """Run ``work`` in all processes, and return when all have ended.

        Raises:
            WorkerError: the processes can't be started, or keep dying.
            BaseException: what one of them raised.
        """
        message = pack(work, "what the processes of a cluster do together")
        with enter_cluster(self.address) as ray:
            needs = Needs(self.num_cpus, self.num_gpus)
            if needs.room(ray) < self.size:
                raise WorkerError(
                    f"the Ray cluster at {self.address} has no room for {self.size} processes of {needs}: add a node, "
                    "or ask for fewer."
                )
            for _ in range(MAX_RETRIES + 1):
                died = self._try_once(ray, needs, message, progress)
                if died is None:
                    return
                logger.warning(
                    "one of %d processes that train together died (%s): all begin again", self.size, died
                )
            raise WorkerError(
                f"one of {self.size} processes died at it again and again, the last time with: {died}."
            )

    def _try_once(self, ray: Any, needs: Needs, message: bytes, progress: Progress) -> str | None:
        """Return how one of the processes died; None if all have ended their work."""
        placed = ray.util.placement_group(
            [needs.of_ray] * self.size, strategy="PACK" if self.num_gpus else "SPREAD"
        )
        if not placed.wait(_PATIENCE_S):
            logger.warning("waiting until the cluster has room for %d processes", self.size)
        options = needs.options | {
            "max_concurrency": 2,  # news are told while it works
            "scheduling_strategy": ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(placed),
        }
        make = ray.remote(_Rank).options(**options)
        origin = Origin.here()
        actors = [make.remote(origin) for _ in range(self.size)]
        try:
            url = ray.get(actors[0].find_meeting_address.remote())
            tasks = [a.work.remote(message, rank, self.size, url) for rank, a in enumerate(actors)]
            _hear(ray, actors[0], tasks, progress)
        except ray.exceptions.RayError as error:
            check_creation(error)
            return type(error).__name__
        else:
            return None
        finally:
            for actor in actors:
                with contextlib.suppress(ray.exceptions.RayError):
                    ray.kill(actor)
            ray.util.remove_placement_group(placed)


def _hear(ray: Any, first: Any, tasks: Sequence[Any], progress: Progress) -> None:
    """Pass on what rank 0 reports, until all processes have ended.

    Raises:
        RayError: a process died.
        BaseException: the exception of a process, while none died.
    """
    waiting = list(tasks)
    while waiting:
        ended, waiting = ray.wait(waiting, timeout=_POLL_S)
        # After the wait, so that what rank 0 told last is among them where it is one of those that ended.
        for news in ray.get(first.news.remote()):
            unpack(news).pass_on(progress)
        answers = [read_message(answered) for answered in ray.get(ended)]
        faults = [one for one in answers if isinstance(one, Fault)]
        if faults:
            others, _ = (
                ray.wait(waiting, num_returns=len(waiting), timeout=_LAST_WORDS_S) if waiting else ([], [])
            )
            ray.get(others)
            failed = outcome_of(0, faults[0])
            assert isinstance(failed, Failed)
            raise failed.error


@final
@dataclass(frozen=True)
class _News:
    """A message of rank 0: of its progress, or of its log."""

    kind: str
    arguments: tuple[Any, ...]

    def pass_on(self, progress: Progress) -> None:
        tell: dict[str, Callable[..., None]] = {
            "start": progress.start,
            "advance": progress.advance,
            "say": progress.say,
            "log": lambda *said: Said(*said).pass_on(),
        }
        tell[self.kind](*self.arguments)


@final
class _Telling:
    """A listener that sends what it hears to another process."""

    def __init__(self, news: Outbox) -> None:
        self._news = news

    def start(self, stage: str, total: int, done: int) -> None:
        self._tell("start", stage, total, done)

    def advance(self, note: str) -> None:
        self._tell("advance", note)

    def say(self, sentence: str) -> None:
        self._tell("say", sentence)

    def _tell(self, kind: str, *arguments: Any) -> None:
        self._news.put(message_bytes(_News(kind, arguments)))


class _Rank:
    """The actor that is one of the processes.

    Args:
        origin: The process that started the run.
    """

    def __init__(self, origin: Origin) -> None:
        self._news = Outbox()
        origin.set_up_process(self._log)

    def find_meeting_address(self) -> str:
        """Return an address of this machine at which the processes can connect to each other."""
        ray: Any = importlib.import_module("ray")
        with socket.socket() as free:
            free.bind(("", 0))
            return f"tcp://{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def work(self, work: bytes, rank: int, size: int, url: str) -> bytes:
        """Run the common work, and return its outcome in this process."""
        return run_sent_job(work, Seat(rank, size, url, _Telling(self._news)))

    def news(self) -> list[bytes]:
        """Return the messages since the last call."""
        return self._news.take()

    def _log(self, said: bytes) -> None:
        one: Said = unpack(said)
        self._news.put(message_bytes(_News("log", (one.name, one.level, one.text))))
