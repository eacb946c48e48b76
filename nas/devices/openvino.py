"""This machine's CPU, with OpenVINO."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from nas.devices.other_runtimes import Feed, Loaded, OtherRuntime


@final
@dataclass(frozen=True)
class OpenVino(OtherRuntime):
    """OpenVINO on this machine's CPU, in float32; int8 where a pass made it so. An extra: ``nas[openvino]``.

    Args:
        threads: Threads of one operator; operators run one after another.

    Raises:
        StudyError: a setting is out of range.
    """

    title: ClassVar[str] = "OpenVINO"
    package: ClassVar[str] = "openvino"

    def load_network(self, model: bytes, feed: Feed) -> Loaded:
        """Load a model and set its inputs."""
        import openvino  # an extra

        core = openvino.Core()
        network = core.read_model(io.BytesIO(model))
        network.reshape({name: list(array.shape) for name, array in feed.items()})
        settings = {
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",  # otherwise bfloat16 on the processors that have it
            "ENABLE_CPU_PINNING": False,  # the session keeps the measuring thread on a core
        }
        request = core.compile_model(network, "CPU", settings).create_infer_request()
        for name, array in feed.items():
            request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
        return _Request(request, feed)


@final
@dataclass(frozen=True)
class _Request:
    request: Any
    feed: Feed  # shared with the request, so it must live as long

    def run(self) -> None:
        self.request.infer()

    def answers(self) -> list[np.ndarray]:
        return [tensor.data.copy() for tensor in self.request.output_tensors]
