from __future__ import annotations

from runtimes import has_openvino, perceptron, quantized, ran

from nas.devices import OpenVino


@has_openvino
def test_openvino_runs_int8() -> None:
    assert ran(OpenVino(), quantized(perceptron())) > 0
