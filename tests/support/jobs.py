"""Work for executors, which other processes can import."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nas.executors import Rest
from nas.executors.ray_ranks import Seat


class StubbornError(Exception):
    """Can't be made from what it says."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{number} {text}")


def make_ten() -> int:
    return 10


def make_ten_loudly(size: int) -> int:
    """Log so many characters meanwhile."""
    logging.getLogger("nas.far_away").warning("x" * size)
    return 10


def make_ten_from(content: bytes) -> int:
    return 10


def make_ten_at_last(marks: Path, times: int) -> int:
    """Die so many times before there is a workplace, as files tell."""
    return die_at_first(marks, times, 10)


def make_nothing() -> int:
    raise ModuleNotFoundError("No module named 'away'")


def add(number: int, workplace: int) -> int:
    return workplace + number


def add_size(content: bytes, workplace: int) -> int:
    return workplace + len(content)


def process_id(workplace: int) -> int:
    return os.getpid()


def half_done(number: int, workplace: int) -> Rest[int]:
    return Rest(partial(add, 100 * number + workplace))


def half_done_badly(workplace: int) -> Rest[int]:
    return Rest(divide)


def gpus_once(path: Path, workplace: int) -> tuple[int, str | None]:
    """Tell when there is a file, so that no worker does two of these."""
    return wait_for(path, os.getpid(), workplace), os.environ.get("CUDA_VISIBLE_DEVICES")


def meet(marks: Path, seat: Seat) -> None:
    """Leave a mark and tell; the last one dies at first."""
    if seat.rank == seat.size - 1:
        deaths = marks / "deaths"
        deaths.mkdir(exist_ok=True)
        die_at_first(deaths, 1, 0)
    (marks / f"{seat.rank} of {seat.size}").touch()
    seat.progress.start("meet", seat.size, 0)
    seat.progress.advance(str(seat.rank))
    logging.getLogger("nas.far_away").warning("at %s", seat.url.partition("://")[0])


def quarrel(seat: Seat) -> None:
    """Let one fail, and the others as torch does then."""
    raise ConnectionError("closed by peer") if seat.rank == 0 else ValueError("no more")


def threads(workplace: int) -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


def divide(workplace: int) -> float:
    return workplace / 0


def stub(workplace: int) -> None:
    raise StubbornError(7, "was an accident")


def leave(workplace: int) -> None:
    raise SystemExit(3)


def warn(workplace: int) -> None:
    logging.getLogger("nas.far_away").warning("it is %d", workplace)


def warn_badly(workplace: int) -> int:
    """Log with an argument that the text has no place for."""
    logging.getLogger("nas.far_away").warning("it is", workplace)
    return workplace


@dataclass(frozen=True)
class AtHome:
    """Can't be made in another process than its own."""

    pid: int

    def __reduce__(self) -> tuple[Callable[[int], AtHome], tuple[int]]:
        return at_home, (self.pid,)


def at_home(pid: int) -> AtHome:
    if os.getpid() != pid:
        raise EOFError("it is at home")
    return AtHome(pid)


def not_received(workplace: int) -> AtHome:
    return AtHome(os.getpid())


def fork_and_die(go: Path, workplace: int) -> None:
    """Leave a process behind that has all files open which this one has, until there is a file."""
    if os.fork() == 0:
        wait_for(go, 0, workplace)
        os._exit(0)
    die(workplace)


def not_sent_back(workplace: int) -> object:
    return lambda: workplace


def die(workplace: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_first(marks: Path, times: int, workplace: int) -> int:
    """Die so many times, as files tell."""
    if len(list(marks.iterdir())) < times:
        (marks / str(os.getpid())).touch()
        die(workplace)
    return workplace


def wait_for(path: Path, number: int, workplace: int) -> int:
    """Go on when there is a file."""
    while not path.exists():
        time.sleep(0.01)
    return number


def touch_and_go_on(begun: Path, workplace: int) -> None:
    """Say that it has begun, and never end."""
    begun.touch()
    wait_for(begun.with_name("never"), 0, workplace)
