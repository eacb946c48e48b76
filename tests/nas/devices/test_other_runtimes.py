"""What OpenVINO and MNN can't run is told with the layer's name."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn
from torch.nn import functional as F

from nas.compression.onnx_int8 import quantize
from nas.devices import Device, Mnn, OpenVino, other_runtimes
from nas.errors import ExportError, StudyError
from nas.evaluation import LatencyMs
from nas.evaluation.onnx_export import export_onnx

has_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO isn't installed"
)
has_mnn = pytest.mark.skipif(importlib.util.find_spec("MNN") is None, reason="MNN isn't installed")
both = pytest.mark.parametrize(
    "device", [pytest.param(OpenVino(), marks=has_openvino), pytest.param(Mnn(), marks=has_mnn)], ids=repr
)
SHAPE = (3, 8, 8)


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


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))


def quantized(module: nn.Module) -> bytes:
    images = torch.randn(32, *SHAPE, generator=torch.Generator().manual_seed(0))
    return quantize(export_onnx(module.eval(), SHAPE), [images], reduce_range=True)


def ran(device: Device, model: bytes, batch_size: int = 2) -> float:
    with device.open([model], batch_size) as session:
        return float(session.time([0], 3).seconds.min())


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


@has_openvino
def test_openvino_runs_int8() -> None:
    assert ran(OpenVino(), quantized(perceptron())) > 0


@has_mnn
def test_int8_that_mnn_cant_run_is_told_in_a_sentence() -> None:
    with pytest.raises(
        ExportError, match=r"^MNN can't run operator DequantizeLinear of the layer .* measure on another"
    ):
        ran(Mnn(), quantized(perceptron()))


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


@has_mnn
def test_mnn_prints_nothing_where_a_command_answers(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(export_onnx(perceptron().eval(), SHAPE))
    code = (
        "import pathlib; from nas.devices import Mnn\n"
        "with Mnn().open([pathlib.Path('model.onnx').read_bytes()], 1) as session: session.time([0], 1)\n"
        "print('done')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"
