from __future__ import annotations

import onnx
import pytest
import torch
from torch import Tensor, nn

from nas.compression.onnx_int8 import quantize
from nas.errors import ExportError
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.onnx_static import static_graph
from nas.inputs import InputSpec

SHAPE = (1, 8, 8)


class Reshaped(nn.Module):
    """Asks for shapes, which the exporter writes as operators."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(256, 3)

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        output: Tensor = self.head(features.reshape(features.shape[0], -1))
        return output


def test_constants_are_folded_and_shapes_known() -> None:
    graph = static_graph(export_onnx(Reshaped().eval(), SHAPE))
    assert [operator.kind for operator in graph.operators] == ["Conv", "Relu", "Reshape", "Gemm"]
    assert [graph.shapes[operator.outputs[0]] for operator in graph.operators] == [
        (1, 4, 8, 8),
        (1, 4, 8, 8),
        (1, 256),
        (1, 3),
    ]
    conv, _, _, head = graph.operators
    assert conv.weights == ((4, 1, 3, 3), (4,))
    assert head.weights == ((3, 256), (3,))
    assert conv.settings["pads"] == [1, 1, 1, 1]
    assert conv.name == "/body/body.0/Conv"
    assert (graph.inputs, graph.outputs) == (("images",), ("outputs",))


def test_weights_of_int8_are_weights_all_the_same() -> None:
    images = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(0))
    graph = static_graph(quantize(export_onnx(Reshaped().eval(), SHAPE), [images], reduce_range=True))
    layers = [operator for operator in graph.operators if operator.kind in ("Conv", "Gemm")]
    assert [layer.weights[0] for layer in layers] == [(4, 1, 3, 3), (3, 256)]
    assert all(len(layer.inputs) == 1 for layer in layers)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.head = nn.Linear(14, 4)

    def forward(self, ids: Tensor, numbers: Tensor) -> Tensor:
        output: Tensor = self.head(torch.cat([self.table(ids).mean(dim=1), numbers], dim=1))
        return output


def test_several_inputs() -> None:
    spec = InputSpec(("ids", "numbers"), ((5,), (6,)), (torch.int64, torch.float32))
    graph = static_graph(export_onnx(Two().eval(), spec))
    assert graph.inputs == ("ids", "numbers")
    assert (graph.shapes["ids"], graph.shapes["outputs"]) == ((1, 5), (1, 4))


@pytest.mark.parametrize("model", [onnx.ModelProto().SerializeToString(), b""])
def test_what_is_no_network_is_refused(model: bytes) -> None:
    with pytest.raises(ExportError, match="ONNX Runtime can't run the exported model"):
        static_graph(model)
