"""The contract of an executor. Its jobs are functions of this module, which other processes can import."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from nas.executors import Done, Executor, Failed, Job, Lost, MakeExecutor, Outcome, Rest, Work
from nas.testing.promises import Contract, Promise

_WORKPLACE = 10


@Contract
def check_executor(make: MakeExecutor[int]) -> Sequence[Promise]:
    """Check an executor.

    Each job is done with the workplace and told once; what raises is a failure of its own, and so is ``SystemExit``;
    what a worker leaves as a rest comes back as it is. Without jobs nothing is waited for. Where workers are other
    processes, one that dies loses its job alone. It may be closed twice.

    Args:
        make: Makes it, given what makes a workplace: ``partial(Processes, jobs=2)``.

    Raises:
        BrokenPromisesError: promises are broken.
    """
    checks: dict[str, Callable[[MakeExecutor[int]], None]] = {
        "it takes one job at a time or more": _check_capacity,
        "each job is done at a workplace and told once": _check_jobs,
        "what raises is a failure, and it goes on": _check_failures,
        "what is left for later comes back": _check_rest,
        "without jobs nothing is waited for": _check_idle,
        "a worker that dies loses its job alone": _check_death,
        "it may be closed twice": _check_close,
    }
    return [Promise(name, partial(check, make)) for name, check in checks.items()]


@contextlib.contextmanager
def _open(make: MakeExecutor[int]) -> Iterator[Executor[int]]:
    with contextlib.closing(make(_make_workplace)) as executor:
        yield executor


def _do(executor: Executor[int], *works: Work[int]) -> dict[int, Outcome]:
    """Return what became of jobs, by their position; as many run at once as the executor takes."""
    assert executor.capacity >= 1, f"capacity is {executor.capacity}: 1 or more is expected"
    waiting, running = list(enumerate(works)), 0
    told: dict[int, Outcome] = {}
    while waiting or running:
        while waiting and running < executor.capacity:
            key, work = waiting.pop(0)
            executor.submit(Job(key, work))
            running += 1
        for outcome in executor.collect(None):
            assert outcome.key not in told, f"job {outcome.key} is told twice"
            told[outcome.key] = outcome
            running -= 1
    return told


def _check_capacity(make: MakeExecutor[int]) -> None:
    with _open(make) as executor:
        told = _do(executor, *(partial(_add, number) for number in range(executor.capacity)))
    assert len(told) == executor.capacity, f"{executor.capacity} jobs at a time give {len(told)} outcomes"


def _check_jobs(make: MakeExecutor[int]) -> None:
    with _open(make) as executor:
        count = 2 * executor.capacity + 1
        told = _do(executor, *(partial(_add, number) for number in range(count)))
    expected = {number: Done(number, _WORKPLACE + number) for number in range(count)}
    assert told == expected, f"adding {list(range(count))} to {_WORKPLACE} gives {told}"


def _check_failures(make: MakeExecutor[int]) -> None:
    with _open(make) as executor:
        told = _do(executor, _divide, _leave, partial(_add, 1))
    for key, kind in ((0, ZeroDivisionError), (1, SystemExit)):
        found = told[key]
        is_told = isinstance(found, Failed) and isinstance(found.error, kind)
        assert is_told, f"a job that raises {kind.__name__} gives {found}: Failed with this error is expected"
    assert told[2] == Done(2, _WORKPLACE + 1), f"beside jobs that fail, another one gives {told[2]}"


def _check_rest(make: MakeExecutor[int]) -> None:
    with _open(make) as executor:
        (outcome,) = _do(executor, _leave_a_rest).values()
    comes_back = isinstance(outcome, Done) and isinstance(outcome.value, Rest)
    assert comes_back, f"a job that returns a Rest gives {outcome}: Done with it is expected"


def _check_idle(make: MakeExecutor[int]) -> None:
    with _open(make) as executor:
        assert list(executor.collect(None)) == [], "collect() of nothing must give nothing, at once"
        _do(executor, partial(_add, 1))
        assert list(executor.collect(None)) == [], "a job is told twice"


def _check_death(make: MakeExecutor[int]) -> None:
    with _open(make) as executor:
        (told,) = _do(executor, _process_id).values()
        if told == Done(0, os.getpid()):
            return  # a death here would be this process's own
        (lost,) = _do(executor, _die).values()
        assert isinstance(lost, Lost), f"a job at which its worker dies gives {lost}: Lost is expected"
        (done,) = _do(executor, partial(_add, 1)).values()
        assert done == Done(0, _WORKPLACE + 1), f"after the death of a worker, a job gives {done}"


def _check_close(make: MakeExecutor[int]) -> None:
    executor = make(_make_workplace)
    executor.close()
    executor.close()


def _make_workplace() -> int:
    return _WORKPLACE


def _add(number: int, workplace: int) -> int:
    return workplace + number


def _divide(workplace: int) -> float:
    return workplace / 0


def _leave(_workplace: int) -> None:
    raise SystemExit(3)


def _leave_a_rest(workplace: int) -> Rest[int]:
    return Rest(partial(_add, workplace))


def _process_id(_workplace: int) -> int:
    return os.getpid()


def _die(_workplace: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
