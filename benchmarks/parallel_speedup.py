"""How much faster two workers are than one: a study whose candidates are trained from scratch, on two cores.

    taskset -c 0,1 python -m benchmarks.parallel_speedup
    taskset -c 0,1 python -m benchmarks.parallel_speedup --sampler RandomSampler

It is run alone, with ``--jobs 2``, and on a Ray cluster of two nodes of a core each, begun here. Printed are the
seconds of the whole command, from the import of torch to the report, and those of the search, from the first trial's
begin to the last one's end, each also as how many times as fast as the first way. The study's strategy proposes other
candidates where two are in flight, so the sum of their MACs is printed too; a random sampler proposes the same ones.
Both cores must have nothing else to do. Ray listens on all interfaces while this runs; its tokens are on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna

from benchmarks.ray_nodes import TwoNodes
from nas.search.record.trials import complete_trials

_STUDY = Path(__file__).parent / "scratch_study.py"
_WAYS = ("alone", "processes", "ray")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--evaluations", type=int, default=40)
    parser.add_argument("--ways", nargs="+", choices=_WAYS, default=list(_WAYS))
    parser.add_argument("--sampler", help="Of Optuna, in place of the study's strategy.")
    parser.add_argument("--out", type=Path, default=Path("runs/parallel_speedup"))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was begun here is ended
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of a worker as of the run alone
    shutil.rmtree(arguments.out, ignore_errors=True)
    print("way | seconds | times as fast | of the search | times as fast | million MACs", flush=True)
    first: tuple[float, float] | None = None
    for way in arguments.ways:
        flags = [f"--evaluations={arguments.evaluations}"]
        flags += [f"--sampler={arguments.sampler}"] if arguments.sampler else []
        whole, search, macs = _time(way, flags, arguments.out / way)
        first = first or (whole, search)
        print(
            f"{way} | {whole:.1f} | {first[0] / whole:.2f} | {search:.1f} | {first[1] / search:.2f} | {macs:.2f}",
            flush=True,
        )


def _time(way: str, flags: list[str], out: Path) -> tuple[float, float, float]:
    """Return the seconds of a run and of its search, and the millions of MACs of its candidates."""
    command = [sys.executable, "-m", "nas", "run", str(_STUDY), "--out", str(out), *flags]
    with contextlib.ExitStack() as stack:
        if way == "ray":
            command += ["--jobs=2", f"--ray={stack.enter_context(contextlib.closing(TwoNodes())).address}"]
        elif way == "processes":
            command += ["--jobs=2"]
        begin = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        whole = time.perf_counter() - begin
    record = optuna.load_study(study_name="scratch", storage=f"sqlite:///{out / 'study.db'}")
    trials = complete_trials(record)
    begun = min(trial.datetime_start for trial in trials if trial.datetime_start is not None)
    ended = max(trial.datetime_complete for trial in trials if trial.datetime_complete is not None)
    macs = sum(trial.values[1] for trial in trials) / 1e6
    return whole, (ended - begun).total_seconds(), macs


if __name__ == "__main__":
    main()
