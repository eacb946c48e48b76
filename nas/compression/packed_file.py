"""Weights of two to sixteen different values, in as few bits as tell them apart, and a graph of short names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from nas.choices import Option
from nas.compression.few_values import FewValues, find_few_values
from nas.compression.onnx_files import Packed, StoringPass, onnx_of, pack_weights, with_file
from nas.compression.pipeline import Lab, Model
from nas.compression.settings import check_options


@final
@dataclass(frozen=True)
class PackedFile(StoringPass):
    """Stores weights that are a few values over and over in 1, 2 or 4 bits each, where that takes fewer bytes.

    Such as what :class:`LowBitRecurrent` leaves. ONNX Runtime unpacks them once, when it opens the file; answers are
    the same bit for bit, and neither speed nor memory change. Operators and what passes between them get short names,
    because a recurrent layer has some twenty for each step. Put it last: tools that look for weights may not see them
    there.

    Args:
        name: Name of the pass.
    """

    name: str = "packed"

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the same network in a smaller file; as it is where no weight has few values.

        Raises:
            ExportError: there is neither a file nor a module that can be exported.
            SpaceError: there are options.
        """
        check_options(self.choices(), options)
        proto = onnx.load_model_from_string(onnx_of(model))
        count = pack_weights(proto.graph, _pack_values)
        if not count:
            return model
        _shorten_names(proto.graph)
        return with_file(
            model, proto.SerializeToString(), f"packed: {count} weights stored in 1, 2 or 4 bits"
        )


def _shorten_names(graph: Any) -> None:
    """Number all that a graph names but what it takes and gives, in place; one with graphs inside keeps its names."""
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    if any(attribute.HasField("g") or attribute.graphs for attribute in attributes):
        return
    short: dict[str, str] = {"": ""} | {value.name: value.name for value in (*graph.input, *graph.output)}

    def name(long: str) -> str:
        return short.setdefault(long, f"{len(short):x}")

    for tensor in graph.initializer:
        tensor.name = name(tensor.name)
    for node in graph.node:
        node.name = ""
        node.input[:] = map(name, node.input)
        node.output[:] = map(name, node.output)
    del graph.value_info[:]


def _pack_values(name: str, weights: np.ndarray[Any, Any]) -> Packed | None:
    """Return weights as positions among their values, if that takes fewer bytes."""
    few = find_few_values(weights)
    if few is None:
        return None
    packed = _pack(name, few)
    stored = sum(part.ByteSize() for part in (*packed.tensors, *packed.nodes))
    return packed if stored < weights.nbytes else None


def _pack(name: str, few: FewValues) -> Packed:
    """Return the tensors, and the operators that make weights of a name out of them."""
    tensors = {
        "bytes": few.positions[:, None],
        "shifts": few.shifts[None],
        "mask": np.array((1 << few.bits) - 1, dtype=np.uint8),
        "flat": np.array([-1]),
        "begin": np.array([0]),
        "size": np.array([int(np.prod(few.shape))]),
        "shape": np.array(few.shape),
        "values": few.values,
    }
    steps: tuple[tuple[str, tuple[str, ...], str, dict[str, Any]], ...] = (
        ("BitShift", ("bytes", "shifts"), "shifted", {"direction": "RIGHT"}),
        ("BitwiseAnd", ("shifted", "mask"), "rows", {}),
        ("Reshape", ("rows", "flat"), "filled", {}),
        ("Slice", ("filled", "begin", "size"), "numbers", {}),
        ("Cast", ("numbers",), "index", {"to": onnx.TensorProto.INT32}),
        ("Gather", ("values", "index"), "chosen", {}),
    )
    nodes = [
        helper.make_node(kind, [f"{name}.{one}" for one in inputs], [f"{name}.{made}"], **settings)
        for kind, inputs, made, settings in steps
    ]
    nodes.append(helper.make_node("Reshape", [f"{name}.chosen", f"{name}.shape"], [name]))
    return Packed(
        [numpy_helper.from_array(array, f"{name}.{part}") for part, array in tensors.items()], nodes
    )
