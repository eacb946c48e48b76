"""Connecting to a Ray cluster, and the resources that a process needs of a node."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

from nas.errors import WorkerError, kind_and_line

_CONNECT_S = 5.0
"""Ray itself tries for minutes where nothing listens."""
_NO_TOKEN = "InvalidAuthToken"
"""Ray says it somewhere in what it raises."""


@final
@dataclass(frozen=True)
class Needs:
    """Resources that a process needs of a node.

    Args:
        num_cpus: Number of CPUs, and of the threads that the process computes with.
        num_gpus: Number of GPUs; with a fraction, several processes share one.
    """

    num_cpus: float
    num_gpus: float

    def __str__(self) -> str:
        return f"{self.num_cpus:g} CPUs and {self.num_gpus:g} GPUs"

    @property
    def of_ray(self) -> dict[str, float]:
        """The amounts by Ray's names of resources, without those of 0, which Ray doesn't allow."""
        return {name: number for name, number in (("CPU", self.num_cpus), ("GPU", self.num_gpus)) if number}

    @property
    def options(self) -> dict[str, Any]:
        """The same as options of a Ray actor."""
        return {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus}

    def room(self, ray: Any) -> int:
        """Return how many such processes the present nodes have room for."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return sum(
            min(int(node.get(name, 0.0) / needed) for name, needed in self.of_ray.items()) for node in nodes
        )


def check_creation(error: Exception) -> None:
    """Raise an error if a process could not even be started; return if it was started and died later.

    Raises:
        WorkerError: the process could not be started, so no other one could either.
    """
    if getattr(error, "_actor_init_failed", False):
        raise WorkerError(
            f"a worker can't begin on the Ray cluster ({kind_and_line(error)}): install on its nodes what is "
            "installed here."
        ) from error


def check_cluster(address: str) -> None:
    """Connect to a cluster and disconnect again, so that one that can't be used is reported before a training.

    Raises:
        WorkerError: Ray isn't installed, or the cluster can't be reached or is of another version.
    """
    if address != "local":
        with enter_cluster(address):
            pass


@contextlib.contextmanager
def enter_cluster(address: str) -> Iterator[Any]:
    """Within, this process is connected to a cluster: to the one it was connected to before, or to that at an address.

    Yields the module ``ray``.

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
