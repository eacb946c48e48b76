"""A board of a pool: what is known of it, and how it is compared with others."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import final

import numpy as np

from nas.devices.device import Device, time_turns
from nas.devices.remote import Remote

_LEAST_TOLERANCE = 0.05
"""Equal boards differ by a few percent, as do two processes on one."""
_TOLERANCE_DEVIATIONS = 3.0
"""Standard deviations of the noise of both: equal boards differ by more once in 370 comparisons."""
_BLOCKS, _RUNS_PER_TURN = 5, 4
"""Blocks, of which the noise is a standard deviation; runs as in :mod:`nas.evaluation.turns`."""
_BLOCK_S = 0.05
"""Length of a block, so that a board is checked in a quarter of a second."""
_LONGEST_REST = 32
"""Measurements without a board that doesn't answer, before it is tried again: trying takes seconds."""


@final
@dataclass
class Board:
    """A device of a pool, and what is known of it.

    Args:
        device: Itself.
        number: In the pool, from 1.
    """

    device: Device
    number: int
    ratio: float | None = None
    noise: float = 0.0
    is_left_out: bool = False
    rest: int = 0
    last_rest: int = 0

    def __str__(self) -> str:
        url = f" ({self.device.url})" if isinstance(self.device, Remote) else ""
        return f"device {self.number}{url}"

    def is_away(self) -> None:
        """Leave it alone for longer than last time."""
        self.last_rest = min(2 * self.last_rest + 1, _LONGEST_REST)
        self.rest = self.last_rest

    def agrees_with(self, other: Board) -> bool:
        """Whether both tell the same ratio of two fixed networks, but for the noise."""
        assert self.ratio is not None
        assert other.ratio is not None
        noise = _TOLERANCE_DEVIATIONS * math.hypot(self.noise, other.noise)
        return abs(self.ratio / other.ratio - 1) <= max(_LEAST_TOLERANCE, noise)


def ratio_of(device: Device, reference: bytes) -> tuple[float, float]:
    """Return how long a fixed network takes, of the reference's time, and the relative noise of that."""
    order, ratios = [0, 1, 0, 1], []
    with device.open([reference, _second_network()], 1) as session:
        begin = time_turns(session, order, _RUNS_PER_TURN)
        rounds = max(2, round(_BLOCK_S / float(begin.seconds.sum())) * 2)
        for _ in range(_BLOCKS):
            seconds = time_turns(session, [0, 1] * rounds, _RUNS_PER_TURN).seconds
            ratios.append(float(np.median(seconds[1::2]) / np.median(seconds[::2])))
    ratio = statistics.median(ratios)
    return ratio, statistics.stdev(ratios) / ratio


def _second_network() -> bytes:
    """Return a network that has nothing of the reference's: large matrices, which memory must bring."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    size, layers = 512, 3
    weights = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32) / size**0.5
    nodes, tensors = [], []
    for layer in range(layers):
        tensors.append(numpy_helper.from_array(weights + np.float32(layer), f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [f"x{layer}", f"w{layer}"], [f"x{layer + 1}"]))
    inputs = [helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["batch", size])]
    outputs = [helper.make_tensor_value_info(f"x{layers}", TensorProto.FLOAT, ["batch", size])]
    graph = helper.make_graph(nodes, "second", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
