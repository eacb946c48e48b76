"""The operators of an exported network on one item: in their order, with every shape known."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, final

import numpy as np
import onnx
import onnxruntime as ort

from nas.devices.local import raise_memory_error
from nas.devices.onnx_runtime import feed_for, open_session
from nas.errors import ExportError

VIEWS = frozenset(
    (
        "Cast",
        "DequantizeLinear",
        "Dropout",
        "Flatten",
        "Identity",
        "QuantizeLinear",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
    )
)
"""Operators that read the same values in another way. Rounding to int8 is done while values are written."""


@final
@dataclass(frozen=True)
class Operator:
    """One operator that depends on the network's inputs.

    Args:
        kind: ONNX's name for it.
        name: In the file; most begin with the module's path.
        inputs: Tensors that depend on the network's inputs.
        weights: Shapes of what doesn't, such as a kernel and a bias, in order.
        outputs: What it makes.
        settings: Attributes of the operator.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    weights: tuple[tuple[int, ...], ...]
    outputs: tuple[str, ...]
    settings: dict[str, Any]


@final
@dataclass(frozen=True)
class StaticGraph:
    """A network on one item, constants folded.

    Args:
        operators: In the order in which they run.
        shapes: Shapes of the tensors that depend on the network's inputs, the batch of 1 included.
        inputs: Inputs of the network.
        outputs: Outputs of the network.
    """

    operators: tuple[Operator, ...]
    shapes: dict[str, tuple[int, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def num_values(self, name: str) -> int:
        """Return how many numbers a tensor holds."""
        return prod(self.shapes[name])


def static_graph(model: bytes) -> StaticGraph:
    """Return what a network does with one item.

    What loops and branches hold inside isn't looked into. Shapes are seen by running the network.

    Args:
        model: Serialised ONNX; the first dimension of each input is the batch.

    Raises:
        ExportError: ONNX Runtime can't run the model.
    """
    folded = fold_graph(of_one_item(model))
    shapes = _shapes(folded)
    stored = {tensor.name: tuple(tensor.dims) for tensor in folded.graph.initializer}
    names = tuple(value.name for value in folded.graph.input if value.name not in stored)
    follows, operators = set(names), []
    for node in folded.graph.node:
        inputs = tuple(name for name in node.input if name in follows)
        if not inputs:
            continue
        follows.update(node.output)
        known = {**stored, **shapes}
        weights = tuple(known[name] for name in node.input if name and name not in follows)
        settings = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        made = tuple(name for name in node.output if name)
        operators.append(Operator(node.op_type, node.name, inputs, weights, made, settings))
    outputs = tuple(value.name for value in folded.graph.output)
    return StaticGraph(
        tuple(operators), {name: shapes[name] for name in shapes if name in follows}, names, outputs
    )


def of_one_item(model: bytes) -> bytes:
    """Return a model with a batch of one item."""
    parsed = onnx.load_model_from_string(model)
    for value in parsed.graph.input:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    for value in parsed.graph.output:
        # The stated shapes are of any batch, and would contradict that of one item.
        value.type.tensor_type.ClearField("shape")
    return bytes(parsed.SerializeToString())


def fold_graph(model: bytes) -> onnx.ModelProto:
    """Return a network in which everything is computed that no input changes, shapes first of all."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="nas-graph-") as folder:
        options.optimized_model_filepath = str(Path(folder, "folded.onnx"))
        try:
            with raise_memory_error():
                ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except MemoryError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise ExportError(f"ONNX Runtime can't run the exported model: {error}") from error
        return onnx.load_model(options.optimized_model_filepath)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shapes of inputs and of whatever an operator makes."""
    made = [name for node in model.graph.node for name in node.output if name]
    session = open_watching_session(model, made)
    feed = feed_for(session, 1)
    with raise_memory_error():
        found: Sequence[np.ndarray] = session.run(made, feed)
    arrays = {**feed, **dict(zip(made, found, strict=True))}
    return {name: tuple(np.shape(array)) for name, array in arrays.items()}


def open_watching_session(model: onnx.ModelProto, names: Sequence[str]) -> ort.InferenceSession:
    """Return a session whose outputs are the tensors of these names, also those between operators."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend([onnx.ValueInfoProto(name=name) for name in names])
    return open_session(watched.SerializeToString())
