"""Post-training int8 by ONNX Runtime, on serialised ONNX: what all passes that quantize share.

Static quantization as QDQ operators (Jacob 2018): weights int8 per channel and symmetric, activations uint8 per tensor,
their ranges the smallest and the largest values on calibration items.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QDQQuantizer,
    QuantType,
    create_calibrator,
    quant_pre_process,
)
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from nas.checks import failing_as
from nas.errors import ExportError
from nas.evaluation.onnx_export import feed_of
from nas.inputs import Inputs, count_items, split_items
from nas.splits import Split

QUANTIZABLE = sorted({*QDQRegistry, *QLinearOpsRegistry})
"""Types of operators that ONNX Runtime quantizes."""
_BATCH_SIZE = 64
"""Calibration items that are run at a time: meanwhile the results of all operators are kept, to see their ranges."""
_ADVICE = "take the pass out, or write the network with operators that ONNX Runtime can quantize"


def calibration_batches(split: Split, num_items: int) -> Sequence[Inputs]:
    """Return random items, the same ones every time, in batches of equal length, about 64."""
    inputs = split.sample(num_items)
    size = -(-count_items(inputs) // max(1, count_items(inputs) // _BATCH_SIZE))
    return list(split_items(inputs, size))


def quantize(
    model: bytes, batches: Sequence[Inputs], *, float_nodes: Collection[str] = (), reduce_range: bool
) -> bytes:
    """Return a float32 model in int8.

    Args:
        model: Serialised ONNX.
        batches: Items that set the ranges of activations.
        float_nodes: Names of operators that stay float, as :attr:`Quantizer.prepared` has them.
        reduce_range: Whether weights use 7 of the 8 bits.

    Raises:
        ExportError: ONNX Runtime can't quantize it.
    """
    return Quantizer(model, batches).quantize(float_nodes=float_nodes, reduce_range=reduce_range)


@final
class Quantizer:
    """Calibrates a model once, to quantize any part of it afterwards.

    Args:
        model: Serialised ONNX of float32.
        batches: Items that set the ranges of activations.

    Raises:
        ExportError: ONNX Runtime can't prepare or run it.
    """

    def __init__(self, model: bytes, batches: Sequence[Inputs]) -> None:
        fault = "ONNX Runtime can't prepare the network for int8"
        with (
            tempfile.TemporaryDirectory() as folder,
            quiet_log(),
            failing_as(ExportError, fault, _ADVICE),
        ):
            path = Path(folder, "prepared.onnx")
            self._prepared = _write_simplified(model, path)
            names = [entry.name for entry in self._prepared.graph.input]
            calibrator = create_calibrator(
                path, QUANTIZABLE, augmented_model_path=str(Path(folder, "augmented.onnx"))
            )
            calibrator.collect_data(_Reader(feed_of(names, batch) for batch in batches))
            self._ranges = calibrator.compute_data()

    @property
    def prepared(self) -> Any:
        """The model as ONNX Runtime simplifies it, batch norm in the convolutions; each operator has a name."""
        return self._prepared

    def quantize(self, *, float_nodes: Collection[str] = (), reduce_range: bool) -> bytes:
        """Return the model in int8, but for some operators.

        Raises:
            ExportError: ONNX Runtime can't quantize it, or nothing in it can be quantized.
        """
        with quiet_log(), failing_as(ExportError, "ONNX Runtime can't quantize the network", _ADVICE):
            quantizer = QDQQuantizer(
                _copy_model(self._prepared),
                True,  # per channel
                reduce_range,
                QuantType.QInt8,
                QuantType.QUInt8,
                self._ranges,
                [],
                list(float_nodes),
                QUANTIZABLE,
                {},
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()  # it leaves new operators at the end
            made = quantizer.model.model
        if not float_nodes and not any(node.op_type == "DequantizeLinear" for node in made.graph.node):
            raise ExportError(f"the network has no operator that ONNX Runtime can quantize: {_ADVICE}.")
        content: bytes = made.SerializeToString()
        return content


def _write_simplified(model: bytes, path: Path) -> Any:
    """Write the simplified model to ``path``, and return it."""
    source = path.with_name("source.onnx")
    source.write_bytes(model)
    # Symbolic shapes are left out: where they can't be found, the tool fails, and leaves a file in the working
    # directory. What the quantizer needs, types and known sizes, ONNX's own inference finds.
    quant_pre_process(source, path, skip_symbolic_shape=True)
    prepared = onnx.load(path)
    for number, node in enumerate(prepared.graph.node):
        node.name = node.name or f"{node.op_type} without name {number}"
    onnx.save(prepared, path)
    return prepared


def _copy_model(model: Any) -> Any:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


@final
class _Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no types
    def __init__(self, feeds: Iterator[Mapping[str, np.ndarray]]) -> None:
        self._feeds = feeds

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._feeds, None)


@contextlib.contextmanager
def quiet_log() -> Iterator[None]:
    """Keep onnxruntime's tools from talking to the root logger, and from giving it handlers."""
    root = logging.root
    level, handlers = root.level, list(root.handlers)
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler in [handler for handler in root.handlers if handler not in handlers]:
            root.removeHandler(handler)
