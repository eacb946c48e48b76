"""What an ONNX file stores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import onnx

_BITS = {"INT2": 2, "UINT2": 2, "INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
"""Bits of a number, where several share a byte: NumPy knows no such types."""


def count_stored_bytes(model: bytes) -> int:
    """Return the bytes of all numbers that an ONNX model stores, each at its own width.

    Weights, and what a compression pass adds to them: scales, zero points, indices. Not the graph.

    Args:
        model: Serialised ONNX.
    """
    return sum(
        math.ceil(_num_bits(tensor) / 8) for tensor in _tensors(onnx.load_model_from_string(model).graph)
    )


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield initialisers and constants, those of graphs inside of operators too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from _parts(sparse)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t"):
                yield attribute.t
            if node.op_type == "Constant" and attribute.HasField("sparse_tensor"):
                yield from _parts(attribute.sparse_tensor)
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _parts(sparse: Any) -> tuple[Any, Any]:
    return sparse.values, sparse.indices


def _num_bits(tensor: Any) -> int:
    if tensor.data_type == onnx.TensorProto.STRING:
        return 8 * sum(map(len, tensor.string_data))
    narrow = _BITS.get(onnx.TensorProto.DataType.Name(tensor.data_type))
    width = narrow or 8 * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    return width * math.prod(int(size) for size in tensor.dims)
