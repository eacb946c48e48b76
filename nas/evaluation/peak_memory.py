"""Peak memory of activations, for devices that have little of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from nas.checks import check_integers, check_kind
from nas.errors import StudyError
from nas.evaluation.onnx_static import VIEWS, Operator, StaticGraph, static_graph
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Candidate

_ACTIVATIONS = (
    *(
        "Clip",
        "Elu",
        "Erf",
        "FastGelu",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mish",
        "PRelu",
        "QuickGelu",
    ),
    *("Relu", "Selu", "Sigmoid", "Softplus", "Tanh", "ThresholdedRelu"),
)
_ARITHMETIC = (
    "Abs",
    "Add",
    "BatchNormalization",
    "Div",
    "Exp",
    "Mul",
    "Neg",
    "Pow",
    "Reciprocal",
    "Sqrt",
    "Sub",
)
_ELEMENTWISE = frozenset((*_ACTIVATIONS, *_ARITHMETIC))
"""Operators of ONNX whose output has the shape of an input and depends on it value by value."""


@final
@dataclass(frozen=True)
class PeakMemory:
    """Bytes of the activations that must be in memory at once, for one item; exact.

    Operators run one after another, in the order of the exported file with its constants folded. While one runs, what
    it reads and what it makes are in memory, and so is everything that a later one reads. The largest sum counts.
    Reshaping takes no memory of its own, nor does rounding to int8. Weights are not in it: :class:`nas.WeightBytes`
    counts these, which lie in flash. Nor is what an operator needs for itself, such as patches put in order.

    It is known once a candidate is exported, so a constraint on it is soft.

    Args:
        bytes_per_value: 4 for float32, 1 for int8, whatever the file holds.
        in_place: Whether elementwise operators (activations, sums, products) write over an input of the same size that
            nothing reads later. Runtimes of microcontrollers do so, or fuse them into the layer before.

    Raises:
        StudyError: a setting is out of range.
    """

    bytes_per_value: int = 4
    in_place: bool = True
    objective: Objective = Objective("peak_memory_bytes", "B", "minimize")

    def __post_init__(self) -> None:
        check_integers(self, "bytes_per_value")
        if self.bytes_per_value < 1:
            raise StudyError(f"PeakMemory has bytes_per_value={self.bytes_per_value}: it must be 1 or more.")
        if not isinstance(self.in_place, bool):
            check_kind("PeakMemory", "in_place", self.in_place, bool, "True or False")

    def calibrate(self) -> Mapping[str, float | str]:
        """Return nothing: it depends on no device."""
        return {}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        """Return the peak of each exported network; the spread is 0.

        Raises:
            ExportError: ONNX Runtime can't run a network.
        """
        peaks = [peak_values(static_graph(one.onnx_model), in_place=self.in_place) for one in candidates]
        return [
            Measurement(float(self.bytes_per_value * peak), 0.0, self.objective.unit, "counted", 1)
            for peak in peaks
        ]


def peak_values(graph: StaticGraph, *, in_place: bool) -> int:
    """Return the most numbers that are in memory at once.

    Args:
        graph: A network on one item.
        in_place: Whether elementwise operators may write over what they read.
    """
    needed = _last_needs(graph)
    home = {name: name for name in graph.inputs}
    until = {name: needed[name] for name in graph.inputs}
    peak = sum(graph.num_values(name) for name in graph.inputs)
    for step, operator in enumerate(graph.operators):
        over = _find_overwritten(graph, operator, home, until, step, in_place=in_place)
        for name in operator.outputs:
            home[name] = home[over] if over is not None else name
            until[home[name]] = max(until.get(home[name], 0), needed[name])
        live = [buffer for buffer, last in until.items() if last >= step]
        peak = max(peak, sum(graph.num_values(buffer) for buffer in live))
        until = {buffer: until[buffer] for buffer in live}
    return peak


def _last_needs(graph: StaticGraph) -> dict[str, int]:
    """Return the step at which each tensor is read for the last time; outputs of the network after all steps."""
    needed = dict.fromkeys(graph.inputs, 0)
    for step, operator in enumerate(graph.operators):
        needed |= dict.fromkeys((*operator.inputs, *operator.outputs), step)
    return needed | dict.fromkeys(graph.outputs, len(graph.operators))


def _find_overwritten(
    graph: StaticGraph,
    operator: Operator,
    home: Mapping[str, str],
    until: Mapping[str, int],
    step: int,
    *,
    in_place: bool,
) -> str | None:
    """Return the input whose memory an operator's output takes; None where it takes memory of its own."""
    if operator.kind in VIEWS:
        return operator.inputs[0]
    if not in_place or operator.kind not in _ELEMENTWISE:
        return None
    size = graph.num_values(operator.outputs[0])
    free = [
        name for name in operator.inputs if until[home[name]] == step and graph.num_values(home[name]) == size
    ]
    return free[0] if free else None
