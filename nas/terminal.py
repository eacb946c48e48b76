"""What the command line shows: progress bars, or plain lines where nobody watches; tables; the log."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, final

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table as RichTable

from nas.errors import OutputError
from nas.progress import DONE
from nas.report.results import Results
from nas.report.tables import Table, trust_table, winners_table

if TYPE_CHECKING:
    from nas.runner.profile import Profile
    from nas.runner.progress import Status


@final
class _Console(Console):
    """Rich's, but text is shown as it is, and what reads the output may go away.

    Names and errors of users hold brackets and colons, in which rich would find markup and emoji; and it would end the
    process wherever a line is logged that nobody reads.
    """

    def __init__(self, width: int | None = None) -> None:
        super().__init__(width=width, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Raise the error that is being handled."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


console = _Console(width=None if Console().is_terminal else 120)
_LINES_PER_STAGE = 10
"""Where there is no terminal, as in a log file, a stage that prints a line per trial would hide all else."""
_UNLIMITED = 10_000
"""Columns of a table that goes into a file or a pipe: other programs read whole lines."""
_FAILED_WRITES = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""Errors of a write, whatever it is to; any other ``OSError`` has another reason, such as a connection's."""
_IDS = ("architecture", "model", "id")
"""Columns that never wrap, because what is in them is copied into the next command."""


@final
class Bars:
    """Progress for people: a bar per stage on a terminal, about ten lines per stage elsewhere."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description:>24}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._stage, self._total, self._done, self._began_at, self._began = "", 0, 0, 0, 0.0

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def start(self, stage: str, total: int, done: int) -> None:
        """Show a new stage."""
        _stop_if_told()
        self._stage, self._total, self._done, self._began_at = stage, total, done, done
        self._began = time.monotonic()
        if total == 0:
            return
        self._task = self._bars.add_task(stage, total=total, completed=done, note="")
        if not console.is_terminal:
            resumed = f", going on after {done}" if done else ""
            print(f"{stage}: {total} steps{resumed}", flush=True)

    def advance(self, note: str) -> None:
        """Move the stage's bar."""
        _stop_if_told()
        self._done += 1
        if self._task is not None:
            self._bars.update(self._task, advance=1, note=note)
        every = max(1, self._total // _LINES_PER_STAGE)
        if not console.is_terminal and (self._done % every == 0 or self._done == self._total):
            spent = time.monotonic() - self._began
            left = spent / (self._done - self._began_at) * (self._total - self._done)
            print(f"  {self._stage} {self._done}/{self._total}, {left:.0f} s left, {note}", flush=True)

    def say(self, sentence: str) -> None:
        """Print a sentence above the bars."""
        self._bars.console.print(sentence, highlight=False, soft_wrap=True)


class Terminated(KeyboardInterrupt):
    """SIGTERM came: stop as after Ctrl-C, so that whatever was finished is kept."""


_told_to_stop = threading.Event()
"""Set by SIGTERM: an exception that is raised while C code calls back is printed and forgotten, a flag isn't."""


def _stop_if_told() -> None:
    if _told_to_stop.is_set():
        raise Terminated


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Within, SIGTERM raises :class:`Terminated` in the main thread; at the next step if it was lost there."""
    _told_to_stop.clear()
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def stop(_number: int, _frame: object) -> None:
        _told_to_stop.set()
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        _told_to_stop.clear()


@contextlib.contextmanager
def report_failed_output() -> Iterator[None]:
    """Within, the program ends in a sentence where its output can't be written, and quietly where nobody reads on.

    Raises:
        OutputError: the disk is full, or the like; or too many files are open.
        SystemExit: with the code of a program that SIGPIPE ended, the reader of a pipe has gone.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except (OSError, ImportError, SystemExit) as error:
        if _is_out_of_files(error):
            raise OutputError(
                "more files are open than this shell allows: raise its limit, as by 'ulimit -n 1024', and run the same "
                "command again; finished work is kept."
            ) from error
        failed = _find_failed_write(error)
        if failed is None:
            raise
        with contextlib.suppress(OSError):  # what is still buffered would fail once more at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(failed, BrokenPipeError):
            raise SystemExit(128 + signal.SIGPIPE) from None
        raise OutputError(
            f"the output, or a temporary file, can't be written ({failed.strerror}): free some space or send the "
            "output elsewhere, and run the same command again; finished work is kept."
        ) from failed


def _is_out_of_files(error: BaseException) -> bool:
    number = error.errno if isinstance(error, OSError) else None
    return number in (errno.EMFILE, errno.ENFILE) or os.strerror(errno.EMFILE) in str(error)


def _find_failed_write(error: BaseException) -> OSError | None:
    """Return the failure to write that ended the program; typer makes an exit of a closed pipe's."""
    if isinstance(error, SystemExit):
        return error.__context__ if isinstance(error.__context__, BrokenPipeError) else None
    return error if isinstance(error, OSError) and error.errno in _FAILED_WRITES else None


def log_to_terminal(verbose: bool) -> None:
    """Show warnings of the library's log, and with ``verbose`` everything."""
    import optuna  # here, because who asks for help waits for nothing

    handler = RichHandler(console=console, show_path=False, show_time=False)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, handlers=[handler], format="%(message)s"
    )
    logging.getLogger("nas.supernet.convert").setLevel(logging.INFO)  # it may take half a minute
    optuna.logging.set_verbosity(optuna.logging.INFO if verbose else optuna.logging.WARNING)
    if not verbose:
        for name in ("torch", "onnxscript", "onnx_ir", "matplotlib", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)


def tell_aside(sentence: str) -> None:
    """Print a sentence on stderr, beside what programs read."""
    with contextlib.suppress(OSError):  # where even that is closed or full, the exit code has to do
        print(f"nas: {sentence}", file=sys.stderr, flush=True)


def print_table(title: str, table: Table) -> None:
    """Print a table; ids are never broken, and where nobody watches no cell is."""
    shown = RichTable(title=title, title_justify="left")
    for column, name in enumerate(table.head):
        shown.add_column(
            name, justify="left" if column == 0 else "right", overflow="fold", no_wrap=name in _IDS
        )
    for row in table.rows:
        shown.add_row(*row)
    (console if console.is_terminal else _Console(width=_UNLIMITED)).print(shown)


def print_results(results: Results, path: Path) -> None:
    """Print what a run found."""
    print_table("winners, measured on the exported files (test split)", winners_table(results))
    print_table("the same winners before: can the search's numbers be trusted?", trust_table(results))
    if results.trust is not None:
        for sentence in results.trust.sentences(results.objectives):
            console.print(sentence, highlight=False, soft_wrap=True)
    if results.hypervolume:
        console.print(
            f"hypervolume {results.hypervolume[-1]:.4f} after {len(results.hypervolume)} evaluations"
        )
    if results.baselines and results.finished_hypervolume is not None:
        console.print(f"  the winners, finished: {results.finished_hypervolume:.4f}")
    for baseline in results.baselines:
        last = baseline.hypervolume[-1] if baseline.hypervolume else float("nan")
        console.print(
            f"  {baseline.name}: {last:.4f} after {len(baseline.values)} evaluations, {baseline.note}",
            soft_wrap=True,
        )
    seconds = ", ".join(f"{name} {spent:.0f} s" for name, spent in results.facts["seconds"].items())
    console.print(f"{seconds}. Report: {path / 'report.md'}; models: {path / 'winners'}", soft_wrap=True)


def print_profile(profile: Profile) -> None:
    """Print what is known of a study before anything is paid for."""
    console.print(profile.headline(), highlight=False, soft_wrap=True)
    print_table(f"{profile.num_samples} random architectures, and the ends", profile.table())
    for sentence in profile.sentences():
        console.print(sentence, highlight=False, soft_wrap=True)
    if profile.conversion is not None:
        partly = sum(bool(row.reasons) for row in profile.conversion.rows)
        console.print(
            f"converted: {len(profile.conversion.elastic)} of {len(profile.conversion.rows)} modules and blocks "
            f"are elastic; in {partly} something stays fixed",
            soft_wrap=True,
        )
        console.print(str(profile.conversion), highlight=False, soft_wrap=True)


def describe_status(state: Status, running: bool) -> str:
    """Return the stage of a run in a line.

    Args:
        state: What its ``status.json`` holds.
        running: Whether a process is at it.
    """
    if state.stage == DONE:
        return "finished"
    note = f", {state.note}" if state.note else ""
    ago = max(0.0, time.time() - state.updated)  # the clock may have been set back
    line = f"{state.stage}: {state.done} of {state.total}{note} ({ago:.0f} s ago)"
    if not running:
        return f"{line}; stopped, and the same command goes on from there"
    left = state.seconds_left
    return f"{line}, about {left:.0f} s left in this stage" if left else line
