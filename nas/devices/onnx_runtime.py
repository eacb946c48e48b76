"""This machine's CPU, with ONNX Runtime."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
import onnxruntime as ort

from nas.devices.device import Session
from nas.devices.local import LocalSession, check_threads, local_identity, turn_of_this_process
from nas.errors import ExportError, one_line

_OUT_OF_MEMORY = (
    "Failed to allocate memory",
    "smaller than requested bytes",
    "bad_alloc",
    "bad allocation",
)
"""What ONNX Runtime's allocators and the C++ library say."""


@final
@dataclass(frozen=True)
class OnnxRuntime:
    """ONNX Runtime on this machine's CPU, numbers as exported: float, or int8 where a pass made it so.

    Args:
        threads: Threads of one operator; operators run one after another.

    Raises:
        StudyError: a setting is out of range.
    """

    threads: int = 1

    def __post_init__(self) -> None:
        check_threads(self, self.threads)

    def identity(self) -> str:
        """Return processor, threads and version."""
        return local_identity(self.threads, f"ONNX Runtime {ort.__version__}")

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        """Load networks and warm them up."""
        with turn_of_this_process():
            sessions = [open_session(model, threads=self.threads) for model in models]
            with memory_told():
                runs = [partial(s.run, None, feed_for(s, batch_size)) for s in sessions]
                yield LocalSession(runs, in_this_thread=self.threads == 1)


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
        with memory_told():
            return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except MemoryError:  # that isn't the model's fault
        raise
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ExportError(f"ONNX Runtime can't run the exported model: {error}") from error


@contextlib.contextmanager
def memory_told() -> Iterator[None]:
    """Turn what ONNX Runtime says where memory runs out, which has no type of its own, into a MemoryError."""
    try:
        yield
    except Exception as error:  # onnxruntime's exceptions share no public base
        if not any(text in str(error) for text in _OUT_OF_MEMORY):
            raise
        raise MemoryError(one_line(error)) from error
