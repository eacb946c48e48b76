"""Networks in ONNX Runtime, loaded and warm; runs in a child of the nursery."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

_WARM_UP_RUNS = 3
"""The first allocates memory; what the others don't warm, a low quantile of the times doesn't see."""
_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}
_UNKNOWN_OPERATOR = (
    r"No Op registered for (\S+)",
    r"error: (\S+?)\(-?\d+\) is not a registered",
    r"implementation for (\S+?)\(\d+\)",
)
"""How ONNX Runtime says that it lacks an operator."""
_OUT_OF_MEMORY = (
    "Failed to allocate memory",
    "smaller than requested bytes",
    "bad_alloc",
    "bad allocation",
)


class ModelError(Exception):
    """A model can't be run: the answer that tells why."""

    def __init__(self, error: str, digest: str, message: str, operator: str | None = None) -> None:
        super().__init__(message)
        self.answer = {"error": error, "model": digest, "message": message, "operator": operator}


class Network:
    """A model in a session.

    Args:
        content: Serialised ONNX.
        threads: Threads of one operator.
    """

    def __init__(self, content: bytes, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        self.size = len(content)
        self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._feeds: dict[int, dict[str, Any]] = {}
        self._feed: dict[str, Any] = {}

    def warm_up(self, batch: int) -> None:
        """Make inputs of a batch, once, and run on them."""
        if batch not in self._feeds:
            self._feeds = {batch: _inputs(self._session, batch)}  # of one batch: memory is short
            self._feed = self._feeds[batch]
            for _ in range(_WARM_UP_RUNS):
                self.run()

    def run(self) -> None:
        """Make one forward pass."""
        self._session.run(None, self._feed)


class Networks:
    """Networks in memory, the least used of which make room for others.

    Args:
        max_bytes: Most bytes of the models' files together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._loaded: OrderedDict[tuple[str, int], Network] = OrderedDict()

    def warm(self, digest: str, path: str, threads: int, batch: int) -> Network:
        """Return a network that has run on such a batch.

        Raises:
            ModelError: it can't be loaded or run.
        """
        try:
            network = self._loaded.get((digest, threads)) or Network(_content(digest, path), threads)
            network.warm_up(batch)
        except ModelError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no public base
            self._loaded.pop((digest, threads), None)
            raise fault_of(error, digest) from error
        self._loaded[digest, threads] = network
        self._loaded.move_to_end((digest, threads))
        return network

    def forget(self, digest: str, threads: int) -> None:
        """Let go of a network, which is loaded anew when it is wanted, and lies elsewhere in memory then."""
        self._loaded.pop((digest, threads), None)

    def make_room(self) -> None:
        """Let go of the networks that were used least recently, until the others keep to the limit."""
        while sum(one.size for one in self._loaded.values()) > self._max_bytes:
            self._loaded.popitem(last=False)


def fault_of(error: Exception, digest: str) -> ModelError:
    """Return what ONNX Runtime's refusal means."""
    text = " ".join(str(error).split())[:1000] or type(error).__name__
    if isinstance(error, MemoryError) or any(words in text for words in _OUT_OF_MEMORY):
        return ModelError("memory", digest, f"memory ran out: {text}")
    for pattern in _UNKNOWN_OPERATOR:
        found = re.search(pattern, text)
        if found:
            return ModelError("operator", digest, text, found.group(1))
    return ModelError("model", digest, text)


def _content(digest: str, path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise ModelError("missing", digest, "the model made room for others") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise ModelError("damaged", digest, "the model's file was damaged")
    return content


def _inputs(session: ort.InferenceSession, batch: int) -> dict[str, Any]:
    """Return inputs of a model: random floats, and ones, which every vocabulary has."""
    rng = np.random.default_rng(0)
    made: dict[str, Any] = {}
    for entry in session.get_inputs():
        if entry.type not in _NUMPY:
            raise ValueError(f"input {entry.name!r} is a {entry.type}: a tensor of numbers is expected")
        if not all(isinstance(length, int) for length in entry.shape[1:]):
            raise ValueError(f"input {entry.name!r} has the shape {entry.shape}: only the batch may be open")
        kind, shape = _NUMPY[entry.type], (batch, *entry.shape[1:])
        is_float = np.issubdtype(kind, np.floating)
        values = rng.standard_normal(shape, dtype=np.float32) if is_float else np.ones(shape)
        made[entry.name] = values.astype(kind, copy=False)
    return made
