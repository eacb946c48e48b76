"""Networks to be evaluated: a subnet in the search, an exported file for winners."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import final

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from nas.devices.local import raise_memory_error
from nas.devices.onnx_runtime import open_session
from nas.errors import ExportError
from nas.evaluation.onnx_export import export_onnx, feed_of
from nas.inputs import Form, Inputs, InputSpec, as_spec, call_network, map_inputs, place_inputs, split_items
from nas.training.memory import halve_to_fit

_BATCH_SIZE = 256
"""Chosen: images of this project's sizes fill a GPU or a CPU's caches with fewer; halved where memory runs out."""


@final
class SubnetCandidate:
    """A plain, recalibrated module.

    Which engine computes the outputs is stated, and never depends on what was measured before: PyTorch, or ONNX Runtime
    on the CPU, which takes half the time or less (``benchmarks/evaluation_cost.py``) once there is an exported model.
    Their answers differ by rounding. What is sent to another process is the exported model.

    Args:
        module: Stays on its device; not changed.
        form: What it takes.
        runs_exported: Whether ONNX Runtime answers, from the exported model.
    """

    def __init__(self, module: nn.Module, form: Form, *, runs_exported: bool = False) -> None:
        self._module = module.eval()
        self.inputs = as_spec(form)
        self._runs_exported = runs_exported
        self._batch_size = _BATCH_SIZE

    def __reduce__(self) -> tuple[type[OnnxCandidate], tuple[bytes]]:
        return OnnxCandidate, (self.onnx_model,)

    @torch.no_grad()
    def predict(self, inputs: Inputs) -> Tensor:
        """Return ``(n, *)`` float32 outputs on the CPU.

        Fewer items go through the module at a time where memory runs out.

        Raises:
            OutOfMemoryError: memory ran out with a single item.
            ExportError: the module can't be exported, and ONNX Runtime is to answer.
        """
        if self._runs_exported:
            return _answers(self._session, inputs)
        device = next(self._module.parameters()).device

        def outputs(size: int) -> Tensor:
            # Remembered, so that memory runs out once per candidate and not with every batch.
            self._batch_size = size
            batches = (place_inputs(batch, device) for batch in split_items(inputs, size))
            return torch.cat([call_network(self._module, batch) for batch in batches])

        return halve_to_fit(outputs, self._batch_size, "evaluation").float().cpu()

    @cached_property
    def onnx_model(self) -> bytes:
        """The module, exported on first use."""
        return export_onnx(self._module, self.inputs)

    @cached_property
    def _session(self) -> ort.InferenceSession:
        return open_session(self.onnx_model, threads=torch.get_num_threads())


@final
class OnnxCandidate:
    """An ONNX model, evaluated as it is: run by ONNX Runtime on the CPU.

    Args:
        source: The model's file, or the bytes in it.
        threads: Threads of one operator.

    Raises:
        ExportError: it can't be read, or ONNX Runtime can't open it.
    """

    def __init__(self, source: Path | bytes, *, threads: int = 1) -> None:
        self.onnx_model = source if isinstance(source, bytes) else _read(source)
        self._threads = threads
        self._session = open_session(self.onnx_model, threads=threads)
        entries = self._session.get_inputs()
        self.inputs = InputSpec(
            tuple(entry.name for entry in entries),
            tuple(tuple(int(size) for size in entry.shape[1:]) for entry in entries),
            tuple(torch.int64 if entry.type == "tensor(int64)" else torch.float32 for entry in entries),
        )

    def __reduce__(self) -> tuple[Callable[..., OnnxCandidate], tuple[bytes]]:
        return partial(OnnxCandidate, threads=self._threads), (self.onnx_model,)

    def predict(self, inputs: Inputs) -> Tensor:
        """Return ``(n, *)`` float32 outputs."""
        return _answers(self._session, inputs)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ExportError(f"the exported model {path} can't be read: {error.strerror or error}.") from error


def _answers(session: ort.InferenceSession, inputs: Inputs) -> Tensor:
    names = [entry.name for entry in session.get_inputs()]
    batches = split_items(map_inputs(Tensor.cpu, inputs), _BATCH_SIZE)
    with raise_memory_error():
        outputs = [np.asarray(session.run(None, feed_of(names, batch))[0]) for batch in batches]
    return torch.from_numpy(np.concatenate(outputs))
