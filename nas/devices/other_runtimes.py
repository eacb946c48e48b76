"""What runtimes beside ONNX Runtime share: they answer what it answers, or the operator at fault is named."""

from __future__ import annotations

import importlib.metadata
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import onnx

from nas.devices.local import LocalRuntime, raise_memory_error
from nas.devices.onnx_runtime import feed_for, open_session
from nas.errors import ExportError, StudyError, one_line

Feed = Mapping[str, np.ndarray]

_TOLERANCE = 1e-3
"""Share of the largest answer. Sums in another order stay below 1e-6, approximations of exp and tanh below 2e-4."""
_INT8_TOLERANCE = 0.6
"""Where activations are rounded to int8: values on the edge of two steps fall to either side, layer after layer. Two
networks of twenty layers came out up to 0.4 apart in OpenVINO; other functions would be 1 apart. Whether the operators
are the same shows in the float32 file, which is held to the other tolerance."""


class Loaded(Protocol):
    """A network in a runtime, with its inputs set."""

    def run(self) -> object:
        """Make one forward pass and wait for its end."""

    def answers(self) -> list[np.ndarray]:
        """Return what the last pass made, in the order of the model's outputs."""


Load = Callable[[bytes, Feed], Loaded]
"""What :meth:`OtherRuntime.load_network` does."""


@dataclass(frozen=True)
class OtherRuntime(LocalRuntime):
    """A runtime beside ONNX Runtime: its version is that of a package, and its answers are compared.

    Args:
        threads: Threads of one operator; operators run one after another.

    Raises:
        StudyError: a setting is out of range.
    """

    title: ClassVar[str]
    """What people call it."""
    package: ClassVar[str]
    """Package that brings it, and the extra of ours that brings the package."""

    def version(self) -> str:
        """Return name and version.

        Raises:
            StudyError: the package isn't installed.
        """
        return f"{self.title} {find_version(self.package)}"

    def load(self, model: bytes, batch_size: int) -> Callable[[], object]:
        """Return a forward pass of a network.

        Raises:
            ExportError: the runtime can't run it, or answers something else than ONNX Runtime.
            MemoryError: memory ran out.
        """
        return _load_checked(self.title, self.load_network, model, batch_size).run

    @abstractmethod
    def load_network(self, model: bytes, feed: Feed) -> Loaded:
        """Load a model and set its inputs; whatever it raises says that the runtime can't run it."""


def find_version(package: str) -> str:
    """Return the version of a runtime's package, which is named as the extra of ours that brings it.

    Raises:
        StudyError: it isn't installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise StudyError(f"{package} isn't installed: pip install 'nas[{package}]'.") from error


def _load_checked(runtime: str, load: Load, model: bytes, batch_size: int) -> Loaded:
    """Load a network, and compare what it answers with ONNX Runtime.

    Args:
        runtime: Its name, for sentences.
        load: Loads a model in it.
        model: Serialised ONNX.
        batch_size: Items per forward pass.

    Raises:
        ExportError: the network can't be run, or answers something else than in ONNX Runtime.
        MemoryError: memory ran out.
    """
    network, fault = _try(load, model, batch_size)
    if network is not None:
        return network
    assert fault is not None
    parsed = onnx.load_model_from_string(model)
    node = _first_at_fault(parsed, lambda part: _try(load, part, batch_size)[1] is not None)
    name = node.name or node.output[0]
    raise ExportError(
        f"{runtime} can't run operator {node.op_type} of the layer that is called {name!r} in the exported network "
        f"({fault}): leave out the choice or the pass that brings it in, or measure on another runtime."
    )


def _try(load: Load, model: bytes, batch_size: int) -> tuple[Loaded, None] | tuple[None, str]:
    """Return a network that answers as in ONNX Runtime; where there is none, what is wrong instead.

    Raises:
        ExportError: ONNX Runtime refuses the model.
        MemoryError: memory ran out.
    """
    session = open_session(model)
    feed = feed_for(session, batch_size)
    with raise_memory_error():
        expected = session.run(None, feed)
    try:
        with raise_memory_error():
            network = load(model, feed)
            network.run()
            found = network.answers()
    except MemoryError:  # that isn't the network's fault
        raise
    except Exception as error:  # runtimes raise what they like
        return None, one_line(error)
    tolerance = _INT8_TOLERANCE if b"QuantizeLinear" in model else _TOLERANCE
    fault = _difference(found, expected, tolerance)
    return (network, None) if fault is None else (None, fault)


def _difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray], tolerance: float) -> str | None:
    """Return in words how answers differ; None where they don't."""
    if len(found) != len(expected):
        return f"it gives {len(found)} outputs, ONNX Runtime {len(expected)}"
    for ours, theirs in zip(found, expected, strict=True):
        if ours.shape != theirs.shape:
            return f"its answer has shape {ours.shape}, ONNX Runtime's {theirs.shape}"
        if not np.allclose(ours, theirs, rtol=0, atol=tolerance * _scale(theirs), equal_nan=True):
            off = float(np.abs(ours.astype(np.float64) - theirs).max()) / _scale(theirs)
            return (
                f"its answers are {off:.2g} of the largest one off ONNX Runtime's, and {tolerance} is allowed"
            )
    return None


def _scale(answers: np.ndarray) -> float:
    """Return the largest answer, at least a small one."""
    finite = np.abs(np.asarray(answers, dtype=np.float64))[np.isfinite(answers)]
    return max(float(finite.max(initial=0)), 1e-6)


def _first_at_fault(model: onnx.ModelProto, fails: Callable[[bytes], bool]) -> onnx.NodeProto:
    """Return the operator up to which a network fails and before which it doesn't, by bisection."""
    runs, stops = 0, len(model.graph.node)
    while stops - runs > 1:
        middle = (runs + stops) // 2
        part = _cut_beginning(model, middle)
        if part is not None and fails(part):
            stops = middle
        else:
            runs = middle
    found: onnx.NodeProto = model.graph.node[stops - 1]
    return found


def _cut_beginning(model: onnx.ModelProto, count: int) -> bytes | None:
    """Return the network of the first operators alone.

    It gives all floats that follow from its inputs and that none of these operators takes; None where there are none.
    """
    nodes = model.graph.node[:count]
    taken = {name for node in nodes for name in node.input}
    follows = {value.name for value in model.graph.input}
    for node in nodes:
        if follows.intersection(node.input):
            follows.update(node.output)
    ends = [name for node in nodes for name in node.output if name in follows - taken - {""}]
    if not ends:
        return None
    kinds = {output.name: output.type for output in open_session(_cut(model, count, ends)).get_outputs()}
    floats = [name for name in ends if kinds[name] == "tensor(float)"]
    return _cut(model, count, floats) if floats else None


def _cut(model: onnx.ModelProto, count: int, outputs: Sequence[str]) -> bytes:
    """Return a model of the first operators with these outputs, and without inputs that nothing takes."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    del graph.node[count:]
    taken = {name for node in graph.node for name in node.input}
    inputs = [value for value in graph.input if value.name in taken]
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.extend(inputs)
    graph.output.extend([onnx.ValueInfoProto(name=name) for name in outputs])
    return bytes(part.SerializeToString())
