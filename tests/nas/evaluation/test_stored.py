from __future__ import annotations

import numpy as np
import onnx
import pytest

from nas.evaluation.stored import count_stored_bytes


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        ("FLOAT", (3, 5), 60),
        ("INT8", (3, 5), 15),
        ("INT4", (3, 5), 8),
        ("FLOAT16", (7,), 14),
        ("INT32", (), 4),
    ],
)
def test_numbers_count_at_their_width(kind: str, shape: tuple[int, ...], expected: int) -> None:
    data_type = onnx.TensorProto.DataType.Value(kind)
    size = int(np.prod(shape, dtype=int))
    tensor = onnx.helper.make_tensor("w", data_type, shape, np.zeros(size))
    inner = onnx.helper.make_graph([], "branch", [], [], initializer=[tensor])
    nodes = [
        onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner),
        onnx.helper.make_node("Constant", [], ["k"], value=tensor),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [], [], initializer=[tensor])
    assert count_stored_bytes(onnx.helper.make_model(graph).SerializeToString()) == 4 * expected
