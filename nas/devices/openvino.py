"""This machine's CPU, with OpenVINO."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nas.devices.device import Session
from nas.devices.local import check_threads, local_identity
from nas.devices.other_runtimes import Feed, Loaded, find_version, open_locally


@final
@dataclass(frozen=True)
class OpenVino:
    """OpenVINO on this machine's CPU, in float32; int8 where a pass made it so. An extra: ``nas[openvino]``.

    Args:
        threads: Threads of one operator; operators run one after another.

    Raises:
        StudyError: a setting is out of range.
    """

    threads: int = 1

    def __post_init__(self) -> None:
        check_threads(self, self.threads)

    def identity(self) -> str:
        """Return processor, threads and version.

        Raises:
            StudyError: OpenVINO isn't installed.
        """
        return local_identity(self.threads, f"OpenVINO {find_version('openvino')}")

    def open(self, models: Sequence[bytes], batch_size: int) -> AbstractContextManager[Session]:
        """Load networks and warm them up.

        Raises:
            StudyError: OpenVINO isn't installed.
            ExportError: it can't run a network, or answers something else than ONNX Runtime.
        """
        find_version("openvino")
        return open_locally("OpenVINO", self._load, models, batch_size, self.threads)

    def _load(self, model: bytes, feed: Feed) -> Loaded:
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
