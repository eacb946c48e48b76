"""Networks to be judged: a subnet in the search, an exported file for winners."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from nas.data.inputs import placed
from nas.errors import ExportError, one_line
from nas.evaluation.onnx_export import INPUT, OUTPUT, export_onnx
from nas.training.memory import halved_to_fit

_BATCH_SIZE = 256
_OUT_OF_MEMORY = (
    "Failed to allocate memory",
    "smaller than requested bytes",
    "bad_alloc",
    "bad allocation",
)
"""What ONNX Runtime's allocators and the C++ library say."""


@final
class SubnetCandidate:
    """A plain, recalibrated module.

    Who answers is stated, and never depends on what was measured before: PyTorch, or ONNX Runtime on the CPU,
    which takes half the time or less (``benchmarks/evaluation_cost.py``) once there is an exported model.
    Their answers differ by rounding.

    Args:
        module: Stays on its device; not changed.
        image_shape: Channels, height and width, or the shape of another input.
        dtype: Of the inputs.
        runs_exported: Whether ONNX Runtime answers, from the exported model.
    """

    def __init__(
        self,
        module: nn.Module,
        image_shape: tuple[int, ...],
        dtype: torch.dtype = torch.float32,
        *,
        runs_exported: bool = False,
    ) -> None:
        self._module = module.eval()
        self.image_shape = image_shape
        self._dtype = dtype
        self._runs_exported = runs_exported
        self._batch_size = _BATCH_SIZE

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Return ``(n, num_classes)`` float32 logits on the CPU.

        Fewer images go through the module at a time where memory runs out.

        Raises:
            OutOfMemoryError: memory ran out with a single image.
            ExportError: the module can't be exported, and ONNX Runtime is to answer.
        """
        if self._runs_exported:
            return _answers(self._session, images)
        device = next(self._module.parameters()).device

        def logits(size: int) -> Tensor:
            self._batch_size = size
            return torch.cat([self._module(placed(batch, device)) for batch in images.split(size)])

        return halved_to_fit(logits, self._batch_size, "evaluation").float().cpu()

    @cached_property
    def onnx_model(self) -> bytes:
        """The module, exported on first use."""
        return export_onnx(self._module, self.image_shape, self._dtype)

    @cached_property
    def _session(self) -> ort.InferenceSession:
        return open_session(self.onnx_model, threads=torch.get_num_threads())


@final
class OnnxCandidate:
    """An ONNX file, judged as it is: run by ONNX Runtime on the CPU.

    Args:
        path: The file.

    Raises:
        ExportError: it can't be read, or ONNX Runtime can't open it.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.onnx_model = path.read_bytes()
        except OSError as error:
            raise ExportError(
                f"the exported model {path} can't be read: {error.strerror or error}."
            ) from error
        self._session = open_session(self.onnx_model)
        self.image_shape = tuple(int(size) for size in self._session.get_inputs()[0].shape[1:])

    def predict(self, images: Tensor) -> Tensor:
        """Return ``(n, num_classes)`` float32 logits."""
        return _answers(self._session, images)


def _answers(session: ort.InferenceSession, images: Tensor) -> Tensor:
    batches = images.cpu().split(_BATCH_SIZE)
    with memory_told():
        logits = [np.asarray(session.run([OUTPUT], {INPUT: batch.numpy()})[0]) for batch in batches]
    return torch.from_numpy(np.concatenate(logits))


def open_session(model: bytes, *, threads: int = 1) -> ort.InferenceSession:
    """Return an ONNX Runtime session on the CPU.

    Args:
        model: Serialised ONNX.
        threads: Of one operator; operators run one after another.

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
