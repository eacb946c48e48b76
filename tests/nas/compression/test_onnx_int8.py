from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from nas.compression import onnx_int8
from nas.compression.onnx_int8 import Quantizer, calibration_batches, quantize
from nas.compression.reduced_range import largest_weight
from nas.devices.onnx_runtime import open_session
from nas.errors import ExportError
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.stored import count_stored_bytes
from nas.inputs import count_items
from nas.splits import Split

IMAGES = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 4),
    ).eval()


def exported() -> bytes:
    return export_onnx(network(), (1, 8, 8))


def integers(model: bytes) -> list[np.ndarray]:
    arrays = [onnx.numpy_helper.to_array(i) for i in onnx.load_model_from_string(model).graph.initializer]
    return [array.astype(int) for array in arrays if array.dtype == np.int8 and array.ndim > 1]


@pytest.mark.parametrize("reduce_range", [False, True])
def test_weights_use_the_range_that_is_asked_for(reduce_range: bool) -> None:
    weights = integers(quantize(exported(), [IMAGES], reduce_range=reduce_range))
    assert len(weights) == 3
    assert max(np.abs(w).max() for w in weights) == largest_weight(reduce_range=reduce_range)


def test_operators_stay_float_by_name() -> None:
    quantizer = Quantizer(exported(), [IMAGES])
    names = [node.name for node in quantizer.prepared.graph.node if node.op_type == "Conv"]
    some = quantizer.quantize(float_nodes=names[:1], reduce_range=True)
    whole = quantizer.quantize(reduce_range=True)
    assert len(integers(some)) == len(integers(whole)) - 1
    assert count_stored_bytes(whole) < count_stored_bytes(some) < count_stored_bytes(exported())


def test_all_operators_of_what_is_prepared_have_names_of_their_own() -> None:
    class Tokens(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.view(images.shape[0], -1, 8).softmax(-1).sum(1)

    graph = Quantizer(export_onnx(nn.Sequential(network()[0], Tokens()), (1, 8, 8)), [IMAGES]).prepared.graph
    names = [node.name for node in graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


def of_unknown_shape() -> bytes:
    """Return a model with an operator whose output onnxruntime's symbolic shapes don't know, and give up on."""
    scaled = helper.make_node(
        "Scaler", ["images"], ["scaled"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0]
    )
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size])
        for name, size in (("images", 64), ("outputs", 3))
    ]
    weights = onnx.numpy_helper.from_array(np.linspace(-1, 1, 192, dtype=np.float32).reshape(64, 3), "w")
    gemm = helper.make_node("Gemm", ["scaled", "w"], ["outputs"])
    graph = helper.make_graph([scaled, gemm], "made", ends[:1], ends[1:], [weights])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 2)]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return content


def test_nothing_is_left_in_the_working_directory_nor_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = logging.root
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    assert integers(quantize(of_unknown_shape(), [IMAGES.flatten(1)], reduce_range=True))
    assert (list(tmp_path.iterdir()), root.handlers, root.level) == ([], [], level)


def test_the_same_model_gives_the_same_answers() -> None:
    content = exported()
    one, two = (open_session(quantize(content, [IMAGES], reduce_range=True)) for _ in range(2))
    feed = {"images": IMAGES.numpy()}
    assert np.array_equal(one.run(None, feed)[0], two.run(None, feed)[0])


def test_a_network_without_anything_to_quantize_is_a_sentence() -> None:
    class Sines(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.sin()

    with pytest.raises(ExportError, match="no operator that ONNX Runtime can quantize"):
        quantize(export_onnx(Sines(), (1, 8, 8)), [IMAGES], reduce_range=True)


def test_what_onnxruntime_raises_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(onnx_int8, "quant_pre_process", fails)
    with pytest.raises(ExportError, match="no such luck"):
        quantize(exported(), [IMAGES], reduce_range=True)


@pytest.mark.parametrize("count", [1, 63, 65, 10_000])
def test_any_number_of_items_can_be_asked_for(count: int) -> None:
    batches = calibration_batches(Split(IMAGES, torch.zeros(64, dtype=torch.int64)), count)
    assert sum(count_items(batch) for batch in batches) == min(count, 64)
