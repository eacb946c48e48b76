from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from nas import terminal
from nas.errors import OutputError
from nas.report.tables import Table
from nas.runner.progress import Status
from nas.terminal import (
    Bars,
    Terminated,
    describe_status,
    print_table,
    report_failed_output,
    sigterm_interrupts,
)


def test_where_nobody_watches_a_stage_is_about_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        bars.start("search", 150, 0)
        for _ in range(150):
            bars.advance("hypervolume 0.5")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "search: 150 steps"
    assert 8 <= len(lines) <= 13
    assert "search 150/150" in lines[-1]


def test_a_resumed_stage_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        bars.start("search", 20, 18)
        bars.advance("")
        bars.advance("")
        bars.start("done", 0, 0)
    text = capsys.readouterr().out
    assert "going on after 18" in text
    assert "search 20/20" in text


def state(**changes: Any) -> Status:
    """Return what a run of 14 evaluations wrote after the ninth."""
    usual = Status("search", total=14, done=9, resumed_at=4, note="x", began=0.0, updated=10.0)
    return dataclasses.replace(usual, **changes)


@pytest.mark.parametrize(("done", "expected"), [(4, ", x ("), (9, "about 10 s left")])
def test_a_status_tells_the_time_left_once_there_is_a_pace(done: int, expected: str) -> None:
    text = describe_status(state(done=done), running=True)
    assert text.startswith(f"search: {done} of 14")
    assert expected in text


def test_a_stage_at_its_end_has_no_time_left_and_no_note_is_no_comma() -> None:
    text = describe_status(state(done=14, note=""), running=True)
    assert text.startswith("search: 14 of 14 (")
    assert "left" not in text


def test_a_run_that_nobody_carries_on_is_stopped() -> None:
    text = describe_status(state(), running=False)
    assert text.endswith("; stopped, and the same command goes on from there")
    assert "left" not in text


def test_a_clock_that_was_set_back_tells_no_negative_times() -> None:
    set_back = describe_status(state(began=4e9, updated=3e9), running=True)  # which was in 2065
    assert set_back.endswith("(0 s ago)")


@pytest.mark.parametrize("running", [True, False])
def test_a_finished_run_is_finished(running: bool) -> None:
    assert describe_status(Status("done"), running) == "finished"


WIDE = Table(
    ["trial", "architecture", *(f"objective {n}" for n in range(9))],
    [["0", "b46d230b0b659609", *["1,234,567.8 ± 12 ms"] * 9]],
)


def test_where_nobody_watches_a_table_is_as_wide_as_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("front", WIDE)
    line = next(line for line in capsys.readouterr().out.splitlines() if "b46d" in line)
    assert "b46d230b0b659609" in line
    assert line.count("1,234,567.8 ± 12 ms") == 9


def test_a_narrow_terminal_does_not_break_ids(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "console", Console(width=120, force_terminal=True))
    print_table("front", WIDE)
    assert "b46d230b0b659609" in capsys.readouterr().out


def test_a_sentence_is_one_line_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        bars.say("word " * 100)
    assert len(capsys.readouterr().out.splitlines()) == 1


TEXT = "shape [batch, 3] of block [/b] is stage:x:two"
"""What rich would read as markup and emoji, and refuse."""


def test_text_of_users_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.console.print(TEXT, soft_wrap=True)
    print_table(TEXT, Table([TEXT], [[TEXT]]))
    with Bars() as bars:
        bars.say(TEXT)
    assert capsys.readouterr().out.count(TEXT) == 5


def test_text_of_users_is_shown_as_it_is_on_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(terminal, "console", terminal._Console(width=300))
    with Bars() as bars:
        bars.start("search", 2, 0)
        bars.advance(TEXT)
        bars.start("done", 0, 0)
    assert TEXT in capsys.readouterr().out


class Closed(io.StringIO):
    """A stream that nobody reads, or that has no room."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, _text: str) -> int:
        raise self._error


def by_print() -> None:
    print("a line")


def by_rich() -> None:
    terminal.console.print("a line")


def by_table() -> None:
    print_table("a table", Table(("a", "b"), (("1", "2"),)))


@pytest.mark.parametrize("write", [by_print, by_rich, by_table])
def test_a_reader_that_has_gone_ends_the_program_quietly(
    monkeypatch: pytest.MonkeyPatch, write: Callable[[], None]
) -> None:
    monkeypatch.setattr(terminal, "console", terminal._Console())  # what can't be written stays in its buffer
    monkeypatch.setattr("sys.stdout", Closed(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    with pytest.raises(SystemExit) as stop, report_failed_output():
        write()
    assert stop.value.code == 141


@pytest.mark.parametrize("write", [by_print, by_rich, by_table])
def test_an_output_without_room_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, write: Callable[[], None]
) -> None:
    monkeypatch.setattr(terminal, "console", terminal._Console())  # what can't be written stays in its buffer
    monkeypatch.setattr("sys.stdout", Closed(OSError(errno.ENOSPC, "No space left on device")))
    with (
        pytest.raises(OutputError, match=r"can't be written \(No space left on device\)"),
        report_failed_output(),
    ):
        write()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files", "a file"),
        OSError(errno.ENFILE, "Too many open files in system"),
        ImportError("liba.so: cannot open shared object file: Too many open files"),
    ],
)
def test_too_low_a_limit_on_open_files_is_a_sentence(error: Exception) -> None:
    with pytest.raises(OutputError, match="ulimit -n"), report_failed_output():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        FileNotFoundError(2, "gone", "a file"),
        TimeoutError("late"),
        ConnectionResetError(),
        ValueError("x"),
    ],
)
def test_other_ends_are_left_alone(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, report_failed_output():
        raise error
    assert caught.value is error


def test_a_sigterm_that_was_swallowed_stops_the_run_at_the_next_step() -> None:
    with sigterm_interrupts():
        bars = Bars()
        bars.start("search", 10, 0)
        with contextlib.suppress(Terminated):  # as C code does that calls back
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Terminated):
            bars.advance("")
    with sigterm_interrupts():
        Bars().start("search", 10, 0)
