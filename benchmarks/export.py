"""The two ONNX exporters of torch: seconds, operators after optimisation, and latency.

python -m benchmarks.export
"""

from __future__ import annotations

import argparse
import collections
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from nas.data import Digits
from nas.evaluation import LatencyMs
from nas.evaluation.from_scratch import fresh_network
from nas.evaluation.onnx_export import _dynamo, _torchscript
from nas.inputs import InputSpec
from nas.objectives import Bench
from studies.digits import study

INPUTS = InputSpec.of_one((1, 8, 8))


class Exported:
    """A candidate that is its ONNX model alone."""

    def __init__(self, model: bytes) -> None:
        self.onnx_model = model
        self.inputs = INPUTS


def operators(model: bytes) -> dict[str, int]:
    """Return the operators that ONNX Runtime executes, by type."""
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(Path(folder, "optimized.onnx"))
        options.log_severity_level = 3
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    return dict(sorted(collections.Counter(node.op_type for node in graph.node).items()))


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    logging.disable(logging.WARNING)
    supernet = fresh_network(study().network, 0).eval()
    rng = np.random.default_rng(0)
    latency = LatencyMs(long_seconds=0.5)
    bench = Bench(Digits().load().search, thorough=True, calibration=latency.calibrate())
    for name in ("largest", "smallest", "random"):
        architecture = supernet.space.sample(rng) if name == "random" else getattr(supernet.space, name)()
        module = supernet.extract(architecture)
        models = {}
        for exporter, export in (("TorchScript", _torchscript), ("dynamo", _dynamo)):
            seconds = []
            for _ in range(3):
                begin = time.perf_counter()
                models[exporter] = export(module, INPUTS)
                seconds.append(time.perf_counter() - begin)
            print(f"{name}, {exporter}: median {np.median(seconds):.3f} s, {operators(models[exporter])}")
        fast, slow = latency.measure([Exported(model) for model in models.values()], bench)
        print(
            f"{name}: latency {fast.value:.4f} ms and {slow.value:.4f} ms, ratio {fast.value / slow.value:.3f}"
        )


if __name__ == "__main__":
    main()
