"""Kill what works on a run again and again, and look for what is lost, doubled or failed by it.

    python -m benchmarks.killed_workers --on processes
    python -m benchmarks.killed_workers --on ray

A short study whose candidates are trained from scratch is run alone, and then by others: by two processes
(``--jobs 2``, so other architectures may be proposed), or by one worker at a time on a Ray cluster of two nodes, begun
here. Meanwhile a random worker is killed with SIGKILL every so many seconds, the raylet of the second node once (and a
node begun in its place), and the coordinator a number of times; the same command goes on. On a busy machine, let more
seconds pass from one worker's death to the next than it takes to begin.

Printed is whether it found what the run alone did. Ray listens on all interfaces while this runs; its tokens are on.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import psutil

from benchmarks.ray_nodes import TwoNodes
from nas.search.record.trials import ARCHITECTURE, complete_trials

_STUDY = Path(__file__).parent / "short_scratch_study.py"
_WORKERS = {"processes": "spawn_main", "ray": "ray::_Actor"}
_WORKER, _RAYLET, _COORDINATOR = "workers killed", "raylets killed", "coordinators killed"
_BY_ITSELF = "coordinators ended with an error"
_MAX_BY_ITSELF = 5
"""A run that ends with an error so often would do so forever."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--on", choices=_WORKERS, default="ray")
    parser.add_argument("--jobs", type=int, help="1 on Ray and 2 processes unless told otherwise.")
    parser.add_argument(
        "--every", type=float, default=10.0, help="Seconds from one killed worker to the next."
    )
    parser.add_argument("--coordinator", type=int, default=10, help="How often the coordinator is killed.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/killed_workers"))
    arguments = parser.parse_args()
    jobs = arguments.jobs or (1 if arguments.on == "ray" else 2)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shutil.rmtree(arguments.out, ignore_errors=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was begun here is ended
    alone, killed = arguments.out / "alone", arguments.out / "killed"
    begin = time.monotonic()
    subprocess.run(_command(alone), stdout=subprocess.DEVNULL, check=True)
    whole_s = time.monotonic() - begin
    print(f"alone: {len(_read_finished_trials(alone))} trials in {whole_s:.0f} s", flush=True)
    with contextlib.closing(TwoNodes()) if arguments.on == "ray" else contextlib.nullcontext() as cluster:
        flags = [f"--jobs={jobs}", *([f"--ray={cluster.address}"] if cluster is not None else [])]
        deaths = _through(_command(killed, *flags), cluster, whole_s, arguments)
    print(_describe(deaths))
    _compare(alone, killed, jobs)


def _command(out: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "nas", "run", str(_STUDY), "--out", str(out), *flags]


def _through(
    command: list[str], cluster: TwoNodes | None, whole_s: float, arguments: argparse.Namespace
) -> Counter[str]:
    """Run a command while its processes are killed, until it succeeds or fails too often; return how many were."""
    rng, deaths = random.Random(arguments.seed), Counter[str]()
    begin = time.monotonic()
    next_worker = begin + arguments.every
    while deaths[_BY_ITSELF] < _MAX_BY_ITSELF:
        is_last = deaths[_COORDINATOR] >= arguments.coordinator
        end = time.monotonic() + (float("inf") if is_last else rng.uniform(0.1, 0.4) * whole_s)
        with _running(command) as run:
            while run.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
                if time.monotonic() >= next_worker and (workers := _list_workers(run, cluster)):
                    _kill(rng.choice(workers))
                    deaths[_WORKER] += 1
                    next_worker = time.monotonic() + arguments.every
                if cluster is not None and deaths[_RAYLET] == 0 and deaths[_WORKER] >= 3:
                    cluster.replace_second_node()
                    deaths[_RAYLET] += 1
            code = run.poll()
        if code == 0:
            return deaths
        deaths[_COORDINATOR if code is None else _BY_ITSELF] += 1
        print(f"{time.monotonic() - begin:.0f} s: {_describe(deaths)}", flush=True)
    return deaths


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command, and kill it at the end of the block."""
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield run
    finally:
        run.kill()
        run.wait()


def _describe(deaths: Counter[str]) -> str:
    return ", ".join(f"{what}: {times}" for what, times in deaths.items())


def _list_workers(run: subprocess.Popen[bytes], cluster: TwoNodes | None) -> list[psutil.Process]:
    """Return the processes that work for a run."""
    if cluster is None:
        everybody, words = psutil.Process(run.pid).children(), _WORKERS["processes"]
    else:
        everybody, words = cluster.list_processes(), _WORKERS["ray"]
    found = []
    for process in everybody:
        with contextlib.suppress(psutil.Error):
            if words in " ".join(process.cmdline()):
                found.append(process)
    return found


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.SIGKILL)


def _compare(alone: Path, killed: Path, jobs: int) -> None:
    expected, found = _read_finished_trials(alone), _read_finished_trials(killed)
    trials = _record(killed).get_trials(deepcopy=False)
    states = [trial.state.name for trial in trials]
    architectures = [architecture for architecture, _ in found]
    print(f"lost: {len(expected) - len(found)} of {len(expected)}")
    print(f"doubled: {len(architectures) - len(set(architectures))}")
    print(f"failed: {states.count('FAIL')}, left running: {states.count('RUNNING')}")
    print(f"the same trials, in the same order: {found == expected}")
    if jobs > 1:
        both = dict(found).keys() & dict(expected).keys()
        same = all(dict(found)[one] == dict(expected)[one] for one in both)
        print(f"{len(both)} architectures in both; the same values: {same}")


def _record(out: Path) -> optuna.Study:
    return optuna.load_study(study_name="short_scratch", storage=f"sqlite:///{out / 'study.db'}")


def _read_finished_trials(out: Path) -> list[tuple[str, list[float]]]:
    """Return architecture and values of the finished trials, in the order of their numbers."""
    return [(t.user_attrs[ARCHITECTURE], t.values) for t in complete_trials(_record(out))]


if __name__ == "__main__":
    main()
