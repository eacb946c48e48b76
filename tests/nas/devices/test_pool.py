from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from nas import LatencyMs
from nas.devices import Device, Pool, Remote, Session, Timings
from nas.errors import DeviceRefusedError, DeviceUnavailableError, StudyError

NOBODY = r"no device of the pool can measure: \w is away; \w is away"


@dataclass
class Board:
    """A device whose second network takes ``ratio`` times as long as its first one."""

    name: str
    ratio: float = 2.0
    kind: str = "a board"
    is_away: bool = False
    opened: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return "Board()"

    def identity(self) -> str:
        self.answer()
        return self.kind

    def answer(self) -> None:
        if self.is_away:
            raise DeviceUnavailableError(f"{self.name} is away")

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        self.answer()
        if len(models) == 1:
            self.opened.append(self.name)
        yield self

    def time(self, order: Sequence[int], runs: int) -> Timings:
        self.answer()
        row = np.array([1.0, self.ratio])[list(order)]
        return Timings(np.repeat(row[:, None], runs, axis=1))


def measured(pool: Pool, count: int) -> None:
    for _ in range(count):
        with pool.open([b"a model"], 1) as session:
            session.time([0], 2)


def test_boards_take_turns_and_which_there_are_is_no_part_of_the_study() -> None:
    opened: list[str] = []
    boards = [Board(name, opened=opened) for name in "abc"]
    pool = Pool(boards)
    assert isinstance(pool, Device)
    assert pool.identity() == "a board"
    measured(pool, 4)
    assert opened == ["a", "b", "c", "a"]
    assert repr(pool) == repr(Pool(boards[:1])) == "Pool(Board())"
    assert (
        repr(LatencyMs(device=Pool([Remote("http://a", "secret"), Remote("http://b")]))).count("Remote") == 1
    )


def test_a_board_that_is_away_is_left_alone_for_longer_and_longer_and_comes_back() -> None:
    opened: list[str] = []
    a, b = (Board(name, opened=opened) for name in "ab")
    pool = Pool([a, b])
    measured(pool, 2)
    a.is_away = True
    measured(pool, 5)
    assert opened == ["a", "b"] + ["b"] * 5
    assert pool.identity() == "a board"
    a.is_away = False
    measured(pool, 40)
    assert opened[-2:] in (["a", "b"], ["b", "a"])


def test_where_all_are_away_the_run_waits_and_every_reason_is_told() -> None:
    boards = [Board(name) for name in "ab"]
    pool = Pool(boards)
    measured(pool, 1)
    for board in boards:
        board.is_away = True
    for _ in range(3):
        with pytest.raises(DeviceUnavailableError, match=NOBODY):
            pool.identity()
        with pytest.raises(DeviceUnavailableError, match=NOBODY):
            measured(pool, 1)
    boards[1].is_away = False
    assert pool.identity() == "a board"
    measured(pool, 1)


def test_a_board_that_goes_away_in_the_middle_of_a_measurement_is_told_above() -> None:
    boards = [Board(name) for name in "ab"]
    with Pool(boards).open([b"a"], 1) as session:
        for board in boards:
            board.is_away = True
        with pytest.raises(DeviceUnavailableError, match="is away"):
            session.time([0], 1)


def test_boards_that_are_not_equal_are_refused() -> None:
    pool = Pool([Board("a"), Board("b", kind="another board")])
    with pytest.raises(DeviceRefusedError, match="device 1 is a board, device 2 is another board"):
        pool.identity()


@pytest.mark.parametrize(
    ("ratios", "kept"),
    [
        ([2.0, 2.02, 2.04], "abc"),
        ([2.0, 2.0, 3.0], "ab"),
        ([3.0, 2.0, 2.0], "bc"),
        ([2.0, 1.5], "a"),
        ([2.0], "a"),
    ],
)
def test_a_board_that_differs_from_most_is_left_out_with_a_sentence(
    ratios: Sequence[float], kept: str, caplog: pytest.LogCaptureFixture
) -> None:
    opened: list[str] = []
    boards = [Board(name, ratio, opened=opened) for name, ratio in zip("abc", ratios, strict=False)]
    with caplog.at_level(logging.WARNING):
        measured(Pool(boards), 6)
    assert set(opened) == set(kept)
    assert caplog.text.count("is left out of its pool: of two fixed networks") == len(ratios) - len(kept)


def test_a_board_that_comes_later_is_compared_with_those_that_were_there() -> None:
    opened: list[str] = []
    a, b = Board("a", opened=opened), Board("b", 3.0, is_away=True, opened=opened)
    pool = Pool([b, a])
    measured(pool, 3)
    b.is_away = False
    measured(pool, 40)
    assert set(opened) == {"a"}


def measure_twice(pool: Pool) -> list[float]:
    """Measure a network as a latency is, in two sessions; return the ratio that each told."""
    ratios = []
    for _ in range(2):
        with pool.open([b"the reference", b"a network"], 1) as session:
            seconds = session.time([0, 1, 0, 1], 2).seconds
            ratios.append(seconds[1, 0] / seconds[0, 0])
    return ratios


@pytest.mark.parametrize("broken", [0, 1])
@pytest.mark.parametrize("count", [2, 3])
def test_a_board_that_breaks_later_is_found_and_what_it_measured_is_measured_again(
    broken: int, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    boards = [Board(name) for name in "abc"[:count]]
    pool = Pool(boards)
    assert measure_twice(pool) == [2, 2]
    boards[broken].ratio = 1.5
    with caplog.at_level(logging.WARNING):
        with pytest.raises(DeviceUnavailableError, match=f"device {broken + 1} measures wrongly"):
            _ = [measure_twice(pool) for _ in range(count)]  # until it is that one's turn
        assert [measure_twice(pool) for _ in range(3)] == [[2, 2]] * 3
    assert caplog.text.count(f"device {broken + 1} is left out of its pool") == 1


def test_boards_that_are_as_they_were_stay_though_a_measurement_was_disturbed() -> None:
    @dataclass
    class Disturbed(Board):
        """Tells another time of a network that isn't one of the fixed ones."""

        def time(self, order: Sequence[int], runs: int) -> Timings:
            ratio = 3.0 if runs == 2 else self.ratio
            return Timings(np.repeat(np.array([1.0, ratio])[list(order)][:, None], runs, axis=1))

    pool = Pool([Board("a"), Disturbed("b")])
    for _ in range(3):
        assert sorted(measure_twice(pool)) == [2, 3]


def test_where_one_board_has_both_sessions_there_is_nothing_to_compare() -> None:
    board = Board("a")
    pool = Pool([board])
    measure_twice(pool)
    board.ratio = 1.5
    assert measure_twice(pool) == [1.5, 1.5]


@pytest.mark.parametrize("devices", [[], None, "http://x", [Remote], [None]])
def test_what_are_no_devices_is_refused(devices: Any) -> None:
    with pytest.raises(StudyError, match="Pool has"):
        Pool(devices)
