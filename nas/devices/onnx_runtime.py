"""This machine's CPU, with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
import onnxruntime as ort

from nas.devices.local import LocalRuntime, raise_memory_error
from nas.errors import ExportError


@final
@dataclass(frozen=True)
class OnnxRuntime(LocalRuntime):
    """ONNX Runtime on this machine's CPU, numbers as exported: float, or int8 where a pass made it so.

    Args:
        threads: Threads of one operator; operators run one after another.

    Raises:
        StudyError: a setting is out of range.
    """

    def version(self) -> str:
        """Return name and version."""
        return f"ONNX Runtime {ort.__version__}"

    def load(self, model: bytes, batch_size: int) -> Callable[[], object]:
        """Return a forward pass of a network in a session of its own."""
        session = open_session(model, threads=self.threads)
        return partial(session.run, None, feed_for(session, batch_size))


def feed_for(session: ort.InferenceSession, batch_size: int) -> dict[str, np.ndarray]:
    """Return inputs of a model by name: random floats, the same every time; ids are 1, which all vocabularies have."""
    rng, made = np.random.default_rng(0), {}
    for entry in session.get_inputs():
        shape, is_ids = (batch_size, *entry.shape[1:]), entry.type == "tensor(int64)"
        made[entry.name] = (
            np.ones(shape, dtype=np.int64) if is_ids else rng.standard_normal(shape, dtype=np.float32)
        )
    return made


def open_session(model: bytes, *, threads: int = 1) -> ort.InferenceSession:
    """Return an ONNX Runtime session on the CPU.

    Args:
        model: Serialised ONNX.
        threads: Threads of one operator; operators run one after another.

    Raises:
        ExportError: ONNX Runtime refuses the model.
        MemoryError: memory ran out.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        with raise_memory_error():
            return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except MemoryError:  # that isn't the model's fault
        raise
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ExportError(f"ONNX Runtime can't run the exported model: {error}") from error
