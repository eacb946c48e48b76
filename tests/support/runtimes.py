"""Runtimes that may be installed, and small files for them to run."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from nas.compression.onnx_int8 import quantize
from nas.devices import Device
from nas.evaluation.onnx_export import export_onnx

has_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO isn't installed")
has_mnn = pytest.mark.skipif(find_spec("MNN") is None, reason="MNN isn't installed")
SHAPE = (3, 8, 8)


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))


def quantized(module: nn.Module) -> bytes:
    images = torch.randn(32, *SHAPE, generator=torch.Generator().manual_seed(0))
    return quantize(export_onnx(module.eval(), SHAPE), [images], reduce_range=True)


def ran(device: Device, model: bytes, batch_size: int = 2) -> float:
    with device.open([model], batch_size) as session:
        return float(session.time([0], 3).seconds.min())
