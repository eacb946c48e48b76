"""Several equal boards as one device: each measurement goes to one that is there and free."""

from __future__ import annotations

import contextlib
import logging
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from nas.checks import check_kind
from nas.devices.device import Device, Session
from nas.devices.remote import Remote
from nas.errors import DeviceRefusedError, DeviceUnavailableError, StudyError, one_line

logger = logging.getLogger(__name__)

_LEAST_TOLERANCE = 0.05
"""Equal boards differ by a few percent, as do two processes on one."""
_TOLERANCE_DEVIATIONS = 3.0
_BLOCKS, _RUNS_PER_TURN = 5, 4
_BLOCK_S = 0.05
_LONGEST_REST = 32
"""Measurements without a board that doesn't answer, before it is tried again: trying takes seconds."""


@final
@dataclass
class _Board:
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

    def agrees_with(self, other: _Board) -> bool:
        """Whether both tell the same ratio of two fixed networks, but for the noise."""
        assert self.ratio is not None
        assert other.ratio is not None
        noise = _TOLERANCE_DEVIATIONS * math.hypot(self.noise, other.noise)
        return abs(self.ratio / other.ratio - 1) <= max(_LEAST_TOLERANCE, noise)


@final
@dataclass(frozen=True, repr=False)
class Pool:
    """Equal boards. They are checked against each other, and one that differs is left out.

    Where a board can't be reached, the others go on; which boards there are may change while a study lasts.

    Args:
        devices: Boards of one kind.

    Raises:
        StudyError: there are none.
    """

    devices: Sequence[Device]
    _boards: list[_Board] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        check_kind("Pool", "devices", self.devices, list | tuple, "a list of devices")
        if not self.devices:
            raise StudyError("Pool has no devices: give one or more, such as Remote('http://10.0.0.7:8710').")
        for device in self.devices:
            check_kind("Pool", "devices", device, Device, "a list of instances such as Remote(...)")
        boards = [_Board(device, number) for number, device in enumerate(self.devices, 1)]
        object.__setattr__(self, "_boards", boards)

    def __repr__(self) -> str:
        return f"Pool({', '.join(dict.fromkeys(map(repr, self.devices)))})"

    def identity(self) -> str:
        """Return what the boards have in common.

        Raises:
            DeviceUnavailableError: none can be reached.
            DeviceRefusedError: they are not equal.
        """
        found: dict[str, _Board] = {}
        reasons = []
        for board in self._in_turn():
            try:
                found.setdefault(board.device.identity(), board)
            except DeviceUnavailableError as error:
                board.is_away()
                reasons.append(one_line(error))
        if len(found) > 1:
            (first, a), (second, b) = list(found.items())[:2]
            raise DeviceRefusedError(
                f"the boards of a pool must be equal, and {a} is {first}, {b} is {second}: use one of them alone, or "
                "bring them to the same versions."
            )
        if not found:
            raise _nobody(reasons)
        return next(iter(found))

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        """Load networks on a board that is there and free."""
        with contextlib.ExitStack() as stack:
            yield self._opened(stack, models, batch_size)

    def _opened(self, stack: contextlib.ExitStack, models: Sequence[bytes], batch_size: int) -> Session:
        reasons = []
        self._compare(models[0])
        for board in sorted(self._in_turn(), key=_is_busy):
            try:
                session = stack.enter_context(board.device.open(models, batch_size))
            except DeviceUnavailableError as error:
                board.is_away()
                reasons.append(one_line(error))
                continue
            board.last_rest = 0
            self._boards.remove(board)
            self._boards.append(board)  # the next measurement is another one's turn
            return session
        raise _nobody(reasons)

    def _in_turn(self) -> list[_Board]:
        """Return the boards to try; those that were away lately only where there are no others."""
        boards = [board for board in self._boards if not board.is_left_out]
        ready = [board for board in boards if board.rest == 0]
        for board in boards:
            board.rest = max(board.rest - 1, 0)
        return ready or boards

    def _compare(self, reference: bytes) -> None:
        """Leave out boards that tell another ratio of two fixed networks than most."""
        known = [board for board in self._boards if board.ratio is not None and not board.is_left_out]
        new = [board for board in self._in_turn() if board.ratio is None]
        for board in new:
            try:
                board.ratio, board.noise = _ratio(board.device, reference)
            except DeviceUnavailableError:
                board.is_away()
        new = [board for board in new if board.ratio is not None]
        if not new:
            return
        first_ones = known or sorted(new, key=lambda board: board.number)
        yardstick = max(first_ones, key=lambda one: sum(one.agrees_with(board) for board in known + new))
        for board in new:
            board.is_left_out = not board.agrees_with(yardstick)
            if board.is_left_out:
                logger.warning(
                    "%s is left out of its pool: of two fixed networks, one takes %.3f times as long as the other "
                    "there, and %.3f times on %s",
                    board,
                    board.ratio,
                    yardstick.ratio,
                    yardstick,
                )


def _nobody(reasons: Sequence[str]) -> DeviceUnavailableError:
    return DeviceUnavailableError(f"no device of the pool can measure: {'; '.join(reasons)}")


def _is_busy(board: _Board) -> bool:
    """Whether something is measured there, as far as it tells."""
    try:
        return isinstance(board.device, Remote) and board.device.facts().busy
    except DeviceUnavailableError:
        return True


def _ratio(device: Device, reference: bytes) -> tuple[float, float]:
    """Return how long a fixed network takes, of the reference's time, and the relative noise of that."""
    order, ratios = [0, 1, 0, 1], []
    with device.open([reference, _second_network()], 1) as session:
        begin = session.time(order, _RUNS_PER_TURN)
        rounds = max(2, round(_BLOCK_S / float(begin.seconds.sum())) * 2)
        for _ in range(_BLOCKS):
            seconds = session.time([0, 1] * rounds, _RUNS_PER_TURN).seconds
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
