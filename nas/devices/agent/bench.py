"""One measurement at a time, in a child that is begun anew where it crashed or took too long."""

from __future__ import annotations

import json
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from nas.devices.agent.models import ModelFolder
from nas.devices.agent.nursery import Nursery
from nas.devices.agent.refusal import Refusal
from nas.devices.agent.requests import MeasureRequest
from nas.devices.agent.sensors import Sensors

_START_S = 300.0
"""Numpy and ONNX Runtime are imported in seconds on a board, in a minute under emulation."""
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
_STATUS = {"missing": 409, "damaged": 409, "memory": 507}


class TimingBench:
    """Where networks are timed.

    Args:
        nursery: Nursery of the children that time.
        models: To be timed.
        sensors: Sensors of the device.
        max_seconds: Most seconds of a measurement.
        say: Tells whoever watches the agent, in a sentence.
    """

    def __init__(
        self,
        nursery: Nursery,
        models: ModelFolder,
        sensors: Sensors,
        max_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self._nursery, self._models, self._sensors = nursery, models, sensors
        self._max_seconds, self._say = max_seconds, say
        self._turn = threading.Lock()
        self._line: socket.socket | None = None
        self.runtime: Mapping[str, Any] = {}
        self._boot, self._children = secrets.token_hex(8), 0

    @property
    def instance(self) -> str:
        """Names the agent and its child: another one, and what was loaded and warm isn't any more."""
        return f"{self._boot}.{self._children}"

    @property
    def is_busy(self) -> bool:
        """Whether something is measured."""
        return self._turn.locked()

    def begin(self) -> None:
        """Start a child, which says what it runs networks with.

        Raises:
            Refusal: it can't run any.
        """
        self._line = self._nursery.begin()
        self._children += 1
        found = self._read(self._line, time.monotonic() + _START_S)
        if "error" in found:
            raise Refusal(500, "runtime", f"numpy and onnxruntime can't be imported ({found['message']}).")
        self.runtime = found

    def measure(self, request: MeasureRequest) -> dict[str, Any]:
        """Time networks.

        Raises:
            Refusal: the device is busy or too warm, lacks models, or can't run them.
        """
        if not self._turn.acquire(timeout=request.wait):
            raise Refusal(503, "busy", "something else is measured here at the moment.")
        try:
            missing = self._models.missing(request.models)
            if missing:
                raise Refusal(409, "missing", "models are to be sent first.", {"models": missing})
            self._check_warmth()
            before = self._sensors.throttle_count()
            if self._line is None:
                self.begin()
            answer = self._check_answer(self._ask(request), request)
            self._check_warmth()
            # It may have been throttled in between, and be cool again by now.
            if self._sensors.throttle_count() != before:
                raise self._too_warm()
            return {**answer, "instance": self.instance, "state": self._sensors.state()}
        finally:
            self._turn.release()

    def _ask(self, request: MeasureRequest) -> dict[str, Any]:
        """Return what the child says."""
        assert self._line is not None
        limit = min(request.seconds, self._max_seconds)
        pairs = [(digest, str(self._models.path(digest))) for digest in request.models]
        content = {
            "models": pairs,
            "order": request.order,
            "runs": request.runs,
            "batch": request.batch,
            "threads": request.threads,
        }
        try:
            self._line.settimeout(limit)
            self._line.sendall(json.dumps(content).encode() + b"\n")
            return self._read(self._line, time.monotonic() + limit)
        except socket.timeout:
            self._end()
            raise Refusal(
                422,
                "slow",
                f"the measurement takes more than {limit:g} s: give fewer networks, or start the agent with a larger "
                "--max-seconds.",
            ) from None
        except OSError:
            raise self._refuse_crash(self._end()) from None

    def _check_answer(self, answer: dict[str, Any], request: MeasureRequest) -> dict[str, Any]:
        if "error" not in answer:
            return answer
        code, digest = answer["error"], answer["model"]
        if code == "damaged":
            self._models.drop(digest)
        facts = {"operator": answer["operator"], "models": [digest]}
        code = "missing" if code == "damaged" else code
        raise Refusal(_STATUS.get(code, 422), code, f"{answer['message']}.", facts)

    def _refuse_crash(self, code: int) -> Refusal:
        if -code in _CRASHES:
            name = signal.Signals(-code).name
            self._say(f"a network crashed ONNX Runtime ({name}); it was begun anew")
            return Refusal(422, "crashed", f"ONNX Runtime crashes ({name}) on this network.")
        self._say(f"the process that measures ended (exit code {code}); it is begun anew")
        return Refusal(
            507, "memory", "the measuring process was killed, which happens where memory runs out."
        )

    def _end(self) -> int:
        """Let go of the child and return its exit code."""
        assert self._line is not None
        self._line.close()
        self._line = None
        return self._nursery.end()

    def _check_warmth(self) -> None:
        if self._sensors.state()["throttled"]:
            raise self._too_warm()

    def _too_warm(self) -> Refusal:
        state = self._sensors.state()
        shown = "" if state["temperature_c"] is None else f" at {state['temperature_c']:.0f} °C"
        return Refusal(503, "throttled", f"the device slows itself down{shown} until it has cooled.", state)

    @staticmethod
    def _read(line: socket.socket, deadline: float) -> dict[str, Any]:
        """Return the child's next line.

        Raises:
            OSError: it ended, or says nothing until the deadline (``socket.timeout``).
        """
        received = bytearray()
        while not received.endswith(b"\n"):
            line.settimeout(max(deadline - time.monotonic(), 1e-3))
            piece = line.recv(1 << 16)
            if not piece:
                raise ConnectionResetError("the child ended")
            received += piece
        return dict(json.loads(received))
