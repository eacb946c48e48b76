"""Agents for tests: processes of this machine's Python, on free ports of the loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from onnx import TensorProto, helper, numpy_helper

from nas.devices import Remote
from nas.devices.bundle import write_bundle

PATIENCE_S = 120
"""How long tests wait for what should come at once, before they fail: for a machine with much else to do."""


_GIVEN_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Linux tells here which ports it gives to those who ask for any."""


@dataclass
class RunningAgent:
    """An agent that runs in a folder."""

    process: subprocess.Popen[str]
    folder: Path
    url: str

    @property
    def token(self) -> str:
        return (self.folder / "token").read_text().strip()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def nurse(self) -> psutil.Process:
        return psutil.Process(self.process.pid).children()[0]

    @property
    def timer(self) -> psutil.Process:
        """The process in which networks run."""
        return self.nurse.children()[0]

    def remote(self, threads: int = 1) -> Remote:
        return Remote(self.url, self.token, threads)

    def kill(self) -> None:
        """End it as a cut power supply does."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running_agent(folder: Path, *options: object, port: int = 0) -> Iterator[RunningAgent]:
    """Start the agent from its bundle, as on a board, and stop it at the end."""
    folder.mkdir(exist_ok=True)
    bundle = folder / "agent.pyz"
    write_bundle(bundle)
    words = ["--folder", folder / "kept", "--port", port, *options]
    process = subprocess.Popen(
        [sys.executable, "-I", str(bundle), *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        preexec_fn=_listen_to_ctrl_c,
    )
    try:
        yield RunningAgent(process, folder / "kept", _address(process))
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)
        assert process.stderr is not None
        process.stderr.close()


def port_to_come_back_to() -> int:
    """Return a free port that the system gives to nobody who asks for any, so that it is free after a restart too.

    Processes of tests begin to look for one at places of their own.
    """
    first_given = int(_GIVEN_PORTS.read_text().split()[0]) if _GIVEN_PORTS.exists() else 32768
    begin = first_given // 2 + os.getpid() % (first_given // 4)
    for port in range(begin, first_given):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError(f"no port from {begin} to {first_given} is free")


def _listen_to_ctrl_c() -> None:
    """Undo what a shell does to programs in the background, as the tests may be."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _address(process: subprocess.Popen[str]) -> str:
    said = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if "listening on" in line:
            return line.split()[-1]
    raise AssertionError("".join(said))


def network(width: int = 8, *, nodes: Sequence[Any] | None = None) -> bytes:
    """Return a small network: a product with a matrix, or the nodes that are given, from ``x`` to ``y``."""
    weights = numpy_helper.from_array(np.ones((width, width), dtype=np.float32), "w")
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weights],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("com.acme", 1)]
    made = helper.make_model(graph, opset_imports=versions, ir_version=8)
    return bytes(made.SerializeToString())


def endless_network() -> bytes:
    """Return a network that runs for longer than anybody waits."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Sin", ["value"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    often = numpy_helper.from_array(np.array(2**60), "often")
    return network(
        nodes=[
            helper.make_node("Constant", [], ["often"], value=often),
            helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True), "yes")),
            helper.make_node("Loop", ["often", "yes", "x"], ["y"], body=body),
        ]
    )


def greedy_network() -> bytes:
    """Return a network that asks for more memory than there is."""
    shape = numpy_helper.from_array(np.array([2**44]), "shape")
    return network(
        nodes=[
            helper.make_node("Constant", [], ["shape"], value=shape),
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["zero"], keepdims=0),
            helper.make_node("Add", ["x", "zero"], ["y"]),
        ]
    )


def unknown_operator(domain: str = "") -> bytes:
    """Return a network with an operator that no runtime has."""
    node = helper.make_node("Nonsense", ["x"], ["y"], domain=domain)
    return network(nodes=[node])
