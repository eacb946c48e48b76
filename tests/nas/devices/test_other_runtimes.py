"""What OpenVINO and MNN can't run is told with the layer's name."""

from __future__ import annotations

import re
from typing import Any

import onnx
import pytest
from onnx import helper
from runtimes import SHAPE, has_mnn, has_openvino, perceptron, ran
from torch import Tensor, nn
from torch.nn import functional as F

from nas.devices import Device, Mnn, OpenVino, other_runtimes
from nas.errors import ExportError, StudyError
from nas.evaluation import LatencyMs
from nas.evaluation.onnx_export import export_onnx

both = pytest.mark.parametrize(
    "device", [pytest.param(OpenVino(), marks=has_openvino), pytest.param(Mnn(), marks=has_mnn)], ids=repr
)


class Shrunk(nn.Module):
    """Resizes with antialiasing, which runtimes beside ONNX Runtime leave out without a word."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(self.body(images), size=(3, 3), mode="bilinear", antialias=True)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(8, 8, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.layer(images.flatten(1, 2))[0][:, -1]
        return output


@both
@pytest.mark.parametrize("batch_size", [1, 3])
def test_recurrent_networks_run_in_any_batch(device: Device, batch_size: int) -> None:
    assert ran(device, export_onnx(Recurrent().eval(), SHAPE), batch_size) > 0


@both
def test_two_threads_run(device: Device) -> None:
    assert ran(type(device)(threads=2), export_onnx(perceptron().eval(), SHAPE)) > 0  # type: ignore[call-arg]


@both
def test_other_answers_than_in_onnx_runtime_are_refused_and_the_layer_named(device: Device) -> None:
    with pytest.raises(ExportError, match=r"operator Resize .* '/Resize' .* off ONNX Runtime's"):
        ran(device, export_onnx(Shrunk().eval(), SHAPE))


@pytest.mark.parametrize(
    ("device", "operator", "domain"),
    [
        pytest.param(OpenVino(), "Det", "", marks=has_openvino),
        pytest.param(Mnn(), "FastGelu", "com.microsoft", marks=has_mnn),
    ],
)
def test_an_operator_that_only_onnx_runtime_has_is_named(device: Device, operator: str, domain: str) -> None:
    nodes = [
        helper.make_node("Relu", ["images"], ["kept"], name="/stem/Relu"),
        helper.make_node(operator, ["kept"], ["made"], name="/stages.1/act/Op", domain=domain),
        helper.make_node("Relu", ["made"], ["outputs"], name="/head/Relu"),
    ]
    images = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["batch", 3, 4, 4])
    graph = helper.make_graph(nodes, "some", [images], [onnx.ValueInfoProto(name="outputs")])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    with pytest.raises(
        ExportError, match=f"operator {operator} of the layer that is called '/stages.1/act/Op'"
    ):
        ran(device, model.SerializeToString())


@both
@pytest.mark.parametrize("threads", [0, -1, True, 1.5])
def test_threads_without_sense_are_refused(device: Device, threads: Any) -> None:
    with pytest.raises(StudyError, match=f"threads={threads}"):
        type(device)(threads=threads)  # type: ignore[call-arg]


@pytest.mark.parametrize("device", [OpenVino(), Mnn()], ids=repr)
def test_a_runtime_that_isnt_installed_is_told_with_its_extra(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(package: str) -> str:
        raise other_runtimes.importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(other_runtimes.importlib.metadata, "version", version)
    extra = type(device).__name__.lower()
    for use in (device.identity, lambda: device.open([b""], 1)):
        with pytest.raises(StudyError, match=rf"isn't installed: pip install 'nas\[{extra}\]'"):
            use()


@both
def test_the_runtime_and_its_version_are_part_of_what_a_latency_is(device: Device) -> None:
    assert re.search(r", 1 thread\(s\), (OpenVINO|MNN) \d[\d.]+, batch 4$", LatencyMs(device, 4).identity())
