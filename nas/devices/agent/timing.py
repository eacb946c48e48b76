"""Timing in a child of the nursery: one core, no garbage collector, limits on what the process may do."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import platform
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.devices.agent.undisturbed import on_core, steps_finely, time_run, without_collector

if TYPE_CHECKING:
    from nas.devices.agent.networks import Network, Networks

_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""


class Timer:
    """What a child does: answers requests of the agent, a line of JSON each.

    Args:
        cores: That it times on, in turns.
        memory_bytes: That it may have.
        model_bytes: Bytes of the models that stay in memory.
        folder: To work in, which is empty.
    """

    def __init__(self, cores: Sequence[int], memory_bytes: int, model_bytes: int, folder: Path) -> None:
        self._cores, self._memory_bytes = itertools.cycle(cores), memory_bytes
        self._model_bytes, self._folder = model_bytes, folder

    def __call__(self, line: socket.socket) -> None:
        """Say what runs here, then answer until the agent closes its end."""
        _limit_this_process(self._memory_bytes, self._folder)
        with line, line.makefile("rwb") as stream:
            try:
                import onnxruntime

                from nas.devices.agent.networks import Networks
            except ImportError as error:
                _say(stream, {"error": "import", "message": f"{type(error).__name__}: {error}"})
                return
            _say(stream, {"onnxruntime": onnxruntime.__version__, "python": platform.python_version()})
            networks = Networks(self._model_bytes)
            for request in stream:
                _say(stream, self._answer(networks, json.loads(request)))

    def _answer(self, networks: Networks, request: dict[str, Any]) -> dict[str, Any]:
        from nas.devices.agent.networks import ModelError, fault_of

        try:
            threads, batch = request["threads"], request["batch"]
            if not request["order"]:  # a session begins: its networks are loaded anew
                for digest, _path in request["models"]:
                    networks.forget(digest, threads)
            loaded = [networks.warm(digest, path, threads, batch) for digest, path in request["models"]]
            with on_core(next(self._cores)), without_collector():
                answer = take_times(loaded, request["order"], request["runs"], in_this_thread=threads == 1)
            networks.make_room()
        except ModelError as fault:
            return fault.answer
        except Exception as error:  # of a run that fails after others succeeded
            return fault_of(error, "").answer
        return answer


def take_times(
    networks: Sequence[Network], order: Sequence[int], runs: int, *, in_this_thread: bool
) -> dict[str, Any]:
    """Run networks in turns, and once unnoticed in each, which pays for the caches that the others filled.

    Where a run is the work of this thread alone, its own clock is read, which stands while others have the core.
    """
    stands = in_this_thread and steps_finely()
    clock = time.thread_time if stands else time.perf_counter
    seconds = [[0.0] * runs for _ in order]
    wall, cpu = time.perf_counter(), time.thread_time()
    for turn, position in enumerate(order):
        run, times = networks[position].run, seconds[turn]
        run()
        for column in range(runs):
            times[column] = time_run(run, clock)
    passed = time.perf_counter() - wall
    share = 1.0 if stands or not order else (time.thread_time() - cpu) / passed
    return {"seconds": seconds, "cpu_share": min(share, 1.0)}


def _say(stream: Any, answer: dict[str, Any]) -> None:
    stream.write(json.dumps(answer).encode() + b"\n")
    stream.flush()


def _limit_this_process(memory_bytes: int, folder: Path) -> None:
    """Let this process write no files and take no more than its memory; where that runs out, it is the one to end."""
    sys.dont_write_bytecode = True
    with contextlib.suppress(
        AttributeError, OSError
    ):  # of Linux: to end with the parent, whatever a network does
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with contextlib.suppress(OSError, ValueError):  # not every system has it
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
