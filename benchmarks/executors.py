"""What the process that asks and tells can keep busy: evaluations of a second, by so many workers.

    python -m benchmarks.executors --workers 4 16 64 --processor

An evaluation is a second in which nothing is done. Printed per storage and strategy is the share of the ideal
throughput (workers / second) between the first and the last evaluation of every worker, and the processor time of the
thread that asks and tells, per evaluation. On a machine that is busy with other things, ``--processor`` counts
processor time in place of the wall's, skips the sleep, and takes it that fits have a core of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from functools import partial
from pathlib import Path
from unittest import mock

import optuna

from benchmarks.simulated import Clock, Simulated, SimulatedBeside, SkippingClock, WallClock
from nas.choices import Choice
from nas.executors import Persistent
from nas.objective import Measurement, Objective
from nas.search import OptunaSampler, SurrogateSearch, loop
from nas.search.record.storage import open_study
from nas.search.record.trials import complete_trials
from nas.space import Architecture, SearchSpace
from nas.strategy import Problem, Strategy
from surrogates.mixture import Mixture

OBJECTIVES = (Objective("quality", "", "maximize"), Objective("size", "", "minimize"))
SPACE = SearchSpace(tuple(Choice(f"c{number}", (0, 1, 2, 3)) for number in range(12)))
STORAGES = ["in memory", "SQLite", "PostgreSQL"]
STRATEGIES: dict[str, Strategy] = {
    "random": OptunaSampler("RandomSampler"),
    "surrogate": SurrogateSearch(Mixture),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--seconds", type=float, default=1.0, help="What an evaluation takes.")
    parser.add_argument("--rounds", type=int, default=8, help="Evaluations per worker.")
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=STORAGES[:2])
    parser.add_argument("--url", help="Of the PostgreSQL database, where studies are left behind.")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--processor", action="store_true", help="Count processor time.")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print("workers | storage | strategy | share of the ideal | ms per evaluation")
    for workers in arguments.workers:
        for storage in arguments.storages:
            for strategy in arguments.strategies:
                share, ms = _share(workers, storage, strategy, arguments)
                print(f"{workers} | {storage} | {strategy} | {share:.3f} | {ms:.1f}", flush=True)


def _share(workers: int, storage: str, strategy: str, arguments: argparse.Namespace) -> tuple[float, float]:
    """Return the share of the ideal throughput, and milliseconds per evaluation."""
    clock: Clock = SkippingClock(counts_work=True) if arguments.processor else WallClock()
    problem = Problem(SPACE, OBJECTIVES, lambda _: {}, lambda indices: 0.0 * indices[:, 0])
    sampler = STRATEGIES[strategy].sampler(problem, 0)
    seconds, evaluations = arguments.seconds, workers * arguments.rounds
    ends: list[float] = []
    with contextlib.ExitStack() as stack:
        if arguments.processor:
            stack.enter_context(mock.patch.object(loop, "Beside", partial(SimulatedBeside, clock, None)))
        if storage == "SQLite":
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "study.db"
            study = open_study(path, "simulated", OBJECTIVES, sampler, to_search=True)
        elif storage == "PostgreSQL":
            name = f"simulated-{workers}-{strategy}-{time.time()}"
            study = open_study(arguments.url, name, OBJECTIVES, sampler, to_search=True)
        else:
            study = optuna.create_study(directions=[o.direction for o in OBJECTIVES], sampler=sampler)
        begin = time.thread_time()
        loop.search_with(
            Persistent(Simulated(clock, workers, lambda: seconds, None)),
            study,
            problem,
            lambda architecture: partial(_evaluate, architecture),
            evaluations=evaluations,
            on_trial=lambda _: ends.append(clock.now()),
        )
        spent = time.thread_time() - begin - (clock.elsewhere_s if isinstance(clock, SkippingClock) else 0.0)
        assert len(complete_trials(study)) == evaluations
    rate = (len(ends) - 2 * workers) / (ends[-workers] - ends[workers])
    return rate * seconds / workers, 1000 * spent / evaluations


def _evaluate(architecture: Architecture, _workplace: None) -> dict[str, Measurement]:
    positions = [int(str(option)) for option in architecture.values()]
    quality = sum(position**0.5 for position in positions) - 0.2 * positions[0]
    found = {"quality": quality, "size": float(sum(positions))}
    return {name: Measurement(value, 0.0, "", "", 1) for name, value in found.items()}


if __name__ == "__main__":
    main()
