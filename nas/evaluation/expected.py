"""Operations that an item takes on average, for networks that don't compute the same for every item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import final

import numpy as np
import onnx

from nas.checks import check_integers
from nas.devices.local import raise_memory_error
from nas.errors import EvaluationError, StudyError
from nas.evaluation.onnx_export import feed_of
from nas.evaluation.onnx_static import fold_graph, of_one_item, open_watching_session
from nas.inputs import Inputs, split_items
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Candidate

_Shape = tuple[int, ...]


def _count_convolution(_node: onnx.NodeProto, _inputs: _Shape, weight: _Shape, outputs: _Shape) -> int:
    return prod(outputs) * prod(weight[1:])


def _count_transposed_convolution(
    _node: onnx.NodeProto, inputs: _Shape, weight: _Shape, _outputs: _Shape
) -> int:
    return prod(inputs) * prod(weight[1:])


def _count_product(node: onnx.NodeProto, left: _Shape, _right: _Shape, outputs: _Shape) -> int:
    is_transposed = any(entry.name == "transA" and entry.i for entry in node.attribute)  # of Gemm alone
    return prod(outputs) * left[0 if is_transposed else -1]


_MACS: dict[str, Callable[[onnx.NodeProto, _Shape, _Shape, _Shape], int]] = {
    "Conv": _count_convolution,
    "ConvTranspose": _count_transposed_convolution,
    **dict.fromkeys(("Gemm", "MatMul", "MatMulNBits"), _count_product),
}
"""Multiply-accumulates by kind of operator, from the shapes of its first two inputs and its output."""
_UNSEEN = frozenset(("Einsum", "GRU", "If", "LSTM", "Loop", "RNN", "Scan"))
"""Operators that multiply matrices, or may, in a way that their inputs' shapes don't tell."""


@final
@dataclass(frozen=True)
class ExpectedFlops:
    """Floating-point operations of convolutions and matrix products that one item takes, on average over items.

    Where a network computes the same for every item this is :class:`nas.Flops`, up to what the exporter left out. The
    exported network is run item by item, and the shapes of what its operators make are counted.

    Args:
        items: How many items of the split to run, at most.

    Raises:
        StudyError: there is no item to run.
    """

    items: int = 256
    objective: Objective = Objective("expected_flops", "", "minimize")

    def __post_init__(self) -> None:
        check_integers(self, "items")
        if self.items < 1:
            raise StudyError(f"ExpectedFlops has items={self.items}: 1 or more are expected.")

    def calibrate(self) -> Mapping[str, float | str]:
        """Return nothing: it depends on no device."""
        return {}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        """Return the mean of each network, with its standard error as the spread.

        Raises:
            ExportError: ONNX Runtime can't run a network.
            EvaluationError: an operator's multiplications can't be counted.
        """
        inputs = bench.split.sample(self.items)
        return [self._measure(flops_by_item(one.onnx_model, inputs)) for one in candidates]

    def _measure(self, flops: np.ndarray) -> Measurement:
        error = float(flops.std(ddof=1) / len(flops) ** 0.5) if len(flops) > 1 else 0.0
        return Measurement(float(flops.mean()), error, self.objective.unit, "counted", len(flops))


def flops_by_item(model: bytes, inputs: Inputs) -> np.ndarray:
    """Return the floating-point operations that each item takes, ``(n,)`` float64.

    Args:
        model: Serialised ONNX; the first dimension of each input is the batch.
        inputs: ``n`` items.

    Raises:
        ExportError: ONNX Runtime can't run the model.
        EvaluationError: an operator's multiplications can't be counted.
    """
    folded = fold_graph(of_one_item(model))
    unseen = next((node.name for node in folded.graph.node if node.op_type in _UNSEEN), None)
    if unseen is not None:
        raise EvaluationError(
            f"the operations of {unseen!r} in the exported network can't be counted from shapes: use nas.Flops, which "
            "torch counts, or leave out the choice that brings it in."
        )
    nodes = [node for node in folded.graph.node if node.op_type in _MACS]
    stored = {tensor.name: tuple(tensor.dims) for tensor in folded.graph.initializer}
    wanted = sorted({name for node in nodes for name in (*node.input[:2], node.output[0])} - set(stored))
    session = open_watching_session(folded, wanted)
    names = [entry.name for entry in session.get_inputs()]
    counted = []
    for item in split_items(inputs, 1):
        with raise_memory_error():
            arrays = session.run(wanted, feed_of(names, item)) if wanted else []
        shapes = stored | {name: np.shape(array) for name, array in zip(wanted, arrays, strict=True)}
        macs = [_MACS[n.op_type](n, *(shapes[name] for name in (*n.input[:2], n.output[0]))) for n in nodes]
        counted.append(2.0 * sum(macs))
    return np.array(counted)
