"""Latency on a GAP8-like microcontroller as a model of it says. Nothing is measured.

GAP8 is a cluster of eight RISC-V cores beside 64 kB of L1 memory, which a DMA engine fills from 512 kB of L2. As in
DORY (Burrello 2021) each layer is cut into tiles of which two fit into L1, so that one is moved while the other is
computed; as in PULP-NN (Garofalo 2020) the cores share out the positions of the output, or its channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import final

import numpy as np

from nas.checks import check_numbers
from nas.errors import EvaluationError, StudyError
from nas.evaluation.onnx_static import VIEWS, Operator, StaticGraph, static_graph
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Candidate
from nas.space import FloatArray, IntArray

_CORES = 8
"""Cores of the cluster; the ninth core of the chip, which controls it, computes nothing."""
_MACS_PER_CYCLE = 15.5
"""All cores together, in int8, at best (Garofalo 2020)."""
_DEPTHWISE_MACS_PER_CYCLE = 4.0
"""Assumed; we found no figure. Such a kernel uses each value that it loads for one channel, not for four."""
_VALUES_PER_CYCLE = 2.0
"""All cores together, where nothing is multiplied and summed. Assumed: four instructions load, combine and store a
value."""
_PACE = 1.77
"""For what the model leaves out: gathering patches, rounding, calls, memory outside of the chip. With it MobileNet 1.0
on 128x128 pixels takes as long as was measured: 4.3 a second at 100 MHz (Burrello 2021). It changes no ranking."""
_L1_BYTES = 64_000 - 3_500 - 7 * 3_400
"""Without the stacks of the cores, as DORY's description of GAP8 has it (Burrello 2021)."""
_DMA_BYTES_PER_CYCLE, _DMA_LATENCY = 8, 10
"""The latter in cycles for each transfer. Both are as in DORY's description of GAP8 (Burrello 2021)."""
_FUSED = frozenset({"Relu", "LeakyRelu", "Clip"})
"""Done by the layer before, while it writes."""
_POOLS = frozenset({"MaxPool", "AveragePool"})
_UNKNOWN = frozenset({"ConvTranspose", "Einsum", "GRU", "If", "LSTM", "Loop", "RNN", "Scan"})
"""Operators that multiply, or hide others that do, of which the model says nothing."""


@final
@dataclass(frozen=True)
class Layer:
    """A convolution in int8, whose form linear layers and products of matrices have too.

    Args:
        rows: Rows of the output.
        columns: Columns of the output.
        in_channels: All of them.
        out_channels: All of them.
        kernel: Height and width.
        stride: Height and width.
        dilation: Height and width.
        groups: As many as channels where it is depthwise.
    """

    rows: int
    columns: int
    in_channels: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def macs_per_value(self) -> int:
        """Multiplications for one number of the output."""
        return prod(self.kernel) * self.in_channels // self.groups

    @property
    def macs(self) -> int:
        """Multiplications of the layer."""
        return self.rows * self.columns * self.out_channels * self.macs_per_value

    def input_side(self, made: IntArray, axis: int) -> IntArray:
        """Return how many rows (axis 0) or columns (1) of the input so many of the output need."""
        reach = (self.kernel[axis] - 1) * self.dilation[axis] + 1
        return (made - 1) * self.stride[axis] + reach


@final
@dataclass(frozen=True)
class ModelledGap8Ms:
    """Milliseconds of one item on GAP8's cluster in int8, as modelled: no device is asked, and none may be that fast.

    The cycles of a layer are those of its multiplications or of the DMA, whichever are more, for the best tiles, and
    those until the first tile is there and the last one is gone. Activations such as ReLU are done by the layer before;
    what else multiplies nothing is bound by loads and stores. The file's numbers are taken for int8, whatever they are.

    What doesn't fit into L2 comes from memory outside of the chip, which isn't modelled: limit ``WeightBytes(1)`` and
    ``PeakMemory(1)`` as well.

    Args:
        megahertz: Clock of the cluster; 100 is what DORY reports at 1 V (Burrello 2021).

    Raises:
        StudyError: a setting is out of range.
    """

    megahertz: float = 100.0
    objective: Objective = Objective("modelled_gap8_ms", "ms", "minimize")

    def __post_init__(self) -> None:
        check_numbers(self, "megahertz")
        if not 0 < self.megahertz < 1e6:
            raise StudyError(f"ModelledGap8Ms has megahertz={self.megahertz}: it must be finite and above 0.")

    def calibrate(self) -> Mapping[str, float | str]:
        """Return nothing: no device is asked."""
        return {}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        """Return what the model says of each exported network; the spread is 0, which says nothing of its error.

        Raises:
            ExportError: ONNX Runtime can't run a network.
            EvaluationError: it has an operator of which the model says nothing.
        """
        device = f"modelled: GAP8 cluster, {_CORES} cores at {self.megahertz:g} MHz, int8"
        found = [model_cycles(static_graph(one.onnx_model)) for one in candidates]
        return [Measurement(cycles / self.megahertz / 1e3, 0.0, "ms", device, 1) for cycles in found]


def model_cycles(graph: StaticGraph) -> float:
    """Return the cycles of a network.

    Raises:
        EvaluationError: it has an operator of which the model says nothing.
    """
    return _PACE * sum(_operator_cycles(graph, operator) for operator in graph.operators)


def _operator_cycles(graph: StaticGraph, operator: Operator) -> float:
    if operator.kind in VIEWS or operator.kind in _FUSED:
        return 0.0
    if operator.kind in _UNKNOWN:
        raise EvaluationError(
            f"the model of GAP8 says nothing of operator {operator.kind}, which is called {operator.name!r} in the "
            "exported network: leave out the choice that brings it in, or measure latency on a device."
        )
    layer, times = _as_layer(graph, operator)
    if layer is not None:
        return times * layer_cycles(layer)
    read, made = (sum(map(graph.num_values, names)) for names in (operator.inputs, operator.outputs))
    per_value = prod(operator.settings["kernel_shape"]) if operator.kind in _POOLS else 1
    return plain_cycles(read, made, max(read, made * per_value))


def plain_cycles(read: int, made: int, touched: int) -> float:
    """Return the cycles of an operator that multiplies no weights.

    Args:
        read: Numbers of the input.
        made: Numbers of the output.
        touched: How often a number is loaded or stored.
    """
    return max(touched / _VALUES_PER_CYCLE, (read + made) / _DMA_BYTES_PER_CYCLE) + 2 * _DMA_LATENCY


def _as_layer(graph: StaticGraph, operator: Operator) -> tuple[Layer | None, int]:
    """Return an operator as a layer, and how many of these it is; None where it multiplies no matrices."""
    made = graph.shapes[operator.outputs[0]] if operator.outputs else ()
    if operator.kind == "Conv":
        return _convolution(operator, graph.shapes[operator.inputs[0]], made), 1
    if operator.kind not in ("Gemm", "MatMul", "MatMulNBits"):
        return None, 0
    summed = graph.shapes[operator.inputs[0]][-1]
    if len(operator.inputs) == 1:  # weights, which all positions share
        return Layer(prod(made[:-1]), 1, summed, made[-1]), 1
    return Layer(made[-2], 1, summed, made[-1]), prod(made[:-2])


def _convolution(operator: Operator, taken: tuple[int, ...], made: tuple[int, ...]) -> Layer:
    kernel, settings = operator.weights[0][2:], operator.settings
    stride, dilation = (settings.get(name, (1,) * len(kernel)) for name in ("strides", "dilations"))
    rows, columns = _pair(made[2:])
    groups = settings.get("group", 1)
    return Layer(rows, columns, taken[1], made[1], _pair(kernel), _pair(stride), _pair(dilation), groups)


def _pair(sides: Sequence[int]) -> tuple[int, int]:
    """Return height and width; a width of 1 for what has a length alone."""
    first, second = (*sides, 1)[:2]
    return first, second


def layer_cycles(layer: Layer) -> float:
    """Return the cycles of a layer with the tiles that take fewest.

    Channels of the output are in the outer loop, so weights are moved once, and the input once for each part of them.
    """
    rows, columns, channels = np.meshgrid(
        _parts(layer.rows), _parts(layer.columns), _parts(layer.out_channels), indexing="ij"
    )
    depth = channels * layer.in_channels // layer.out_channels if layer.groups > 1 else layer.in_channels
    taken = layer.input_side(rows, 0) * layer.input_side(columns, 1) * np.maximum(depth, 1)
    weights = channels * layer.macs_per_value
    made = rows * columns * channels
    outer = np.ceil(layer.out_channels / channels)
    inner = np.ceil(layer.rows / rows) * np.ceil(layer.columns / columns)
    moved = outer * (weights + inner * (taken + made)) / _DMA_BYTES_PER_CYCLE
    moved += outer * (1 + 2 * inner) * _DMA_LATENCY
    computed = outer * inner * _tile_cycles(layer, rows * columns, channels)
    ends = (taken + weights + made) / _DMA_BYTES_PER_CYCLE + 3 * _DMA_LATENCY
    fits = 2 * (taken + weights + made) <= _L1_BYTES
    if not fits.any():  # the input's channels in two halves
        return 2 * layer_cycles(replace(layer, in_channels=ceil(layer.in_channels / 2)))
    return float((np.maximum(moved, computed) + ends)[fits].min())


def _tile_cycles(layer: Layer, positions: IntArray, channels: IntArray) -> FloatArray:
    """Return the cycles in which the cores compute a tile: those of the core that has most of it."""
    by_channels = np.ceil(channels / _CORES) * positions
    if layer.groups == layer.in_channels > 1:
        return by_channels * layer.macs_per_value * _CORES / _DEPTHWISE_MACS_PER_CYCLE
    by_positions = np.ceil(positions / _CORES) * channels
    return np.minimum(by_channels, by_positions) * layer.macs_per_value * _CORES / _MACS_PER_CYCLE


def _parts(size: int) -> IntArray:
    """Return the sizes that equal parts of a side can have, the last part being smaller."""
    return np.array(sorted({ceil(size / count) for count in range(1, size + 1)}), dtype=np.int64)
