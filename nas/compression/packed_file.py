"""Weights of two to sixteen different values, in as few bits as tell them apart, and a graph of short names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from nas.choices import Option
from nas.compression.onnx_files import Packed, onnx_of, pack_weights, with_file
from nas.compression.pipeline import Lab, Model
from nas.compression.settings import check_options
from nas.space import SearchSpace

_WIDTHS = (1, 2, 4)
"""In bits, of which a byte holds a whole number."""


@final
@dataclass(frozen=True)
class PackedFile:
    """Stores weights that are a few values over and over in 1, 2 or 4 bits each, where that takes fewer bytes.

    Such as what :class:`LowBitRecurrent` leaves. ONNX Runtime unpacks them once, when it opens the file; answers are
    the same bit for bit, and neither speed nor memory change. Operators and what passes between them get short names,
    because a recurrent layer has some twenty for each step. Put it last: tools that look for weights may not see them
    there.

    Args:
        name: Name of the pass.
    """

    name: str = "packed"

    works_on: ClassVar[Literal["file"]] = "file"
    trains: ClassVar[bool] = False

    def choices(self) -> SearchSpace:
        """Return none."""
        return SearchSpace(())

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
    """Return weights as numbers of their values, if that takes fewer bytes."""
    bit_patterns, numbers = np.unique(weights.view(np.uint32), return_inverse=True)  # keeps 0 and -0 apart
    width = next((width for width in _WIDTHS if len(bit_patterns) <= 1 << width), None)
    if width is None or not weights.size:
        return None
    packed = _packed(
        name, weights.shape, bit_patterns.view(np.float32), _in_bytes(numbers.ravel(), width), width
    )
    stored = sum(part.ByteSize() for part in (*packed.tensors, *packed.nodes))
    return packed if stored < weights.nbytes else None


def _in_bytes(numbers: np.ndarray[Any, Any], width: int) -> np.ndarray[Any, Any]:
    """Return numbers below ``2 ** width``, several to a byte, the first in the lowest bits; the last byte is filled."""
    per_byte = 8 // width
    rows = np.pad(numbers.astype(np.uint8), (0, -numbers.size % per_byte)).reshape(-1, per_byte)
    packed: np.ndarray[Any, Any] = np.bitwise_or.reduce(rows << _shifts(width), axis=1)
    return packed


def _shifts(width: int) -> np.ndarray[Any, Any]:
    return np.arange(0, 8, width, dtype=np.uint8)


def _packed(
    name: str, shape: tuple[int, ...], values: np.ndarray[Any, Any], stored: np.ndarray[Any, Any], width: int
) -> Packed:
    """Return the tensors, and the operators that make weights of a name and shape out of them."""
    tensors = {
        "bytes": stored[:, None],
        "shifts": _shifts(width)[None],
        "mask": np.array((1 << width) - 1, dtype=np.uint8),
        "flat": np.array([-1]),
        "begin": np.array([0]),
        "size": np.array([int(np.prod(shape))]),
        "shape": np.array(shape),
        "values": values,
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
