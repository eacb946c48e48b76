"""A Ray cluster of two nodes on this machine, for benchmarks. It listens on all interfaces; its tokens are on."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import ray

_PORT = 6388
_NODE = ("start", "--num-cpus=1", "--object-store-memory=80000000", "--block")
_SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # else workers stand still where something else computes
}
_AGENTS = ("dashboard-agent-grpc", "dashboard-agent-listen", "runtime-env-agent", "metrics-export")
"""What is given a port: a node asks what has none for it, and ends itself where that begins too slowly to answer."""
_WAIT = """
import sys, time, ray
ray.init(address=sys.argv[1], logging_level="error", log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(1)
"""
_BEGIN_S = 600.0
"""Two nodes that are not there after so long are not going to be."""
_END_S = 30.0
"""A node that is asked to end, and hasn't after so long, is killed."""


class TwoNodes:
    """Two nodes of one CPU each; both are there when this is made."""

    def __init__(self) -> None:
        os.environ |= _SETTINGS
        _ray("get-auth-token", "--generate").wait()
        self.address = f"{ray.util.get_node_ip_address()}:{_PORT}"
        self._ports = itertools.count(_PORT + 1)
        self._nodes = [self._begin("--head", f"--port={_PORT}", "--include-dashboard=false")]
        try:
            self._wait_for_head()
            self._nodes.append(self._begin_second())
            self._wait_for_both()
        except BaseException:
            self.close()
            raise

    def replace_second_node(self) -> None:
        """Kill the second node's raylet, as its machine's end would, and begin another node."""
        for process in _list_processes(self._nodes[1]):
            with contextlib.suppress(psutil.Error):
                if process.name() == "raylet":
                    process.kill()
        self._nodes[1] = self._begin_second()

    def list_processes(self) -> list[psutil.Process]:
        """Return what runs on both nodes now."""
        return [process for node in self._nodes for process in _list_processes(node)]

    def close(self) -> None:
        """End all that was begun."""
        for node in reversed(self._nodes):
            left = _list_processes(node)
            node.terminate()
            _, alive = psutil.wait_procs(left, timeout=_END_S)
            for process in alive:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            node.wait()

    def _begin_second(self) -> subprocess.Popen[bytes]:
        return self._begin(f"--address={self.address}")

    def _begin(self, *words: str) -> subprocess.Popen[bytes]:
        return _ray(*_NODE, *(f"--{agent}-port={next(self._ports)}" for agent in _AGENTS), *words)

    def _wait_for_head(self) -> None:
        while self._nodes[0].poll() is None:
            time.sleep(1)
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", _PORT), 1).close()
                return
        raise SystemExit(
            f"no head of a Ray cluster could be begun at {self.address}; see /tmp/ray/session_latest/logs"
        )

    def _wait_for_both(self) -> None:
        # In a process of its own: Ray reads the settings when it is imported.
        subprocess.run([sys.executable, "-c", _WAIT, self.address], check=True, timeout=_BEGIN_S)


def _list_processes(node: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(node.pid)
        return [process, *process.children(recursive=True)]
    return []


def _ray(*words: str) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("ray")), *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
