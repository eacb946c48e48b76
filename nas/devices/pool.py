"""Several equal boards as one device: each measurement goes to one that is there and free."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from nas.checks import check_kind
from nas.devices.board import Board, ratio_of
from nas.devices.device import Device, Session, Timings, time_turns
from nas.devices.remote import Remote
from nas.errors import DeviceRefusedError, DeviceUnavailableError, StudyError, one_line
from nas.space import FloatArray

logger = logging.getLogger(__name__)

_TORN = 0.15
"""Short measurements of one network on two equal boards differ by up to 4 %, and by 10 % where other processes disturb
them (:mod:`nas.evaluation.turns`)."""
_LOW = 0.05
"""Quantile of a network's times, as there."""


@final
@dataclass(frozen=True, repr=False)
class Pool:
    """Equal boards. They are checked against each other, and one that differs is left out.

    A latency is measured in two sessions, which two boards have. Where these tell different times of one network, both
    boards are looked at again, and the measurement is made again without the one that isn't as it was.

    Where a board can't be reached, the others go on; which boards there are may change while a study lasts.

    Args:
        devices: Boards of one kind.

    Raises:
        StudyError: there are none.
    """

    devices: Sequence[Device]
    _boards: list[Board] = field(init=False, compare=False)
    _last: list[_Watched] = field(init=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        check_kind("Pool", "devices", self.devices, list | tuple, "a list of devices")
        if not self.devices:
            raise StudyError("Pool has no devices: give one or more, such as Remote('http://10.0.0.7:8710').")
        for device in self.devices:
            check_kind("Pool", "devices", device, Device, "a list of instances such as Remote(...)")
        boards = [Board(device, number) for number, device in enumerate(self.devices, 1)]
        object.__setattr__(self, "_boards", boards)

    def __repr__(self) -> str:
        return f"Pool({', '.join(dict.fromkeys(map(repr, self.devices)))})"

    def identity(self) -> str:
        """Return what the boards have in common.

        Raises:
            DeviceUnavailableError: none can be reached.
            DeviceRefusedError: they are not equal.
        """
        found: dict[str, Board] = {}
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
        """Load networks on a board that is there and free.

        Raises:
            DeviceUnavailableError: none can be reached, or one was found to be wrong at the end.
        """
        with contextlib.ExitStack() as stack:
            session = self._open_session(stack, models, batch_size)
            yield session
        before, self._last[:] = self._last[:], [session]
        if any(session.contradicts(other) for other in before):
            self._look_again(session.board, before[0].board, models[0])

    def _look_again(self, one: Board, other: Board, reference: bytes) -> None:
        """Leave out which of two boards tells another ratio of two fixed networks than when it was first used."""
        moved = [board for board in (one, other) if self._has_moved(board, reference)]
        # Where both moved, or neither, nothing says which one is wrong.
        if len(moved) == 1:
            moved[0].is_left_out = True
            self._last.clear()
            logger.warning(
                "%s is left out of its pool: it measures networks otherwise than it did at first, and than %s",
                moved[0],
                one if moved[0] is other else other,
            )
            raise DeviceUnavailableError(f"{moved[0]} measures wrongly, so a measurement is made again")

    def _has_moved(self, board: Board, reference: bytes) -> bool:
        try:
            ratio, noise = ratio_of(board.device, reference)
        except DeviceUnavailableError:
            board.is_away()
            return False
        return not board.agrees_with(replace(board, ratio=ratio, noise=noise))

    def _open_session(
        self, stack: contextlib.ExitStack, models: Sequence[bytes], batch_size: int
    ) -> _Watched:
        reasons = []
        self._compare(models[0])
        # Sorting is stable: of boards that are free, the one that has rested longest comes first.
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
            return _Watched(session, board, models)
        raise _nobody(reasons)

    def _in_turn(self) -> list[Board]:
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
                board.ratio, board.noise = ratio_of(board.device, reference)
            except DeviceUnavailableError:
                board.is_away()
        new = [board for board in new if board.ratio is not None]
        if not new:
            return
        first_ones = known or sorted(new, key=lambda board: board.number)
        # The board with which most agree is right: there is nothing else to compare them with.
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


def _is_busy(board: Board) -> bool:
    """Whether something is measured there, as far as it tells."""
    try:
        return isinstance(board.device, Remote) and board.device.facts().busy
    except DeviceUnavailableError:
        return True


@final
class _Watched:
    """A session on a board, and what it told.

    Args:
        session: Itself.
        board: Where.
        models: What was opened; the reference network comes first.
    """

    def __init__(self, session: Session, board: Board, models: Sequence[bytes]) -> None:
        self._session, self.board = session, board
        self._models = [hashlib.sha256(model).digest() for model in models]
        self._times: dict[int, list[float]] = {}

    def time(self, order: Sequence[int], runs: int) -> Timings:
        """Have networks run in turns."""
        found = time_turns(self._session, order, runs)
        for position, row in zip(order, found.seconds, strict=True):
            self._times.setdefault(position, []).extend(row.tolist())
        return found

    def contradicts(self, other: _Watched) -> bool:
        """Whether two boards tell different times of one network, as multiples of the reference's."""
        if self.board is other.board or self._models != other._models or not self._times or not other._times:
            return False
        return bool(np.abs(self._ratios() / other._ratios() - 1).max() > _TORN)

    def _ratios(self) -> FloatArray:
        times = np.array([np.quantile(self._times[position], _LOW) for position in sorted(self._times)])
        ratios: FloatArray = times / times[0]
        return ratios
