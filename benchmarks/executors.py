"""What the process that asks and tells can keep busy: simulated evaluations of a second, by so many workers.

    python -m benchmarks.executors --workers 4 16 64

An evaluation is a sleep, in processes of this machine, and then a look-up. Printed is the share of the ideal throughput
(workers / second), from the first result to the last, per storage and strategy; and how long an ask and a tell take.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from functools import partial
from pathlib import Path

import optuna

from nas.choices import Choice
from nas.executors import Persistent, Processes
from nas.objective import Measurement, Objective
from nas.protocols import Problem
from nas.search import OptunaSampler, SurrogateSearch
from nas.search.loop import search_with
from nas.search.record import complete_trials
from nas.search.storage import open_study
from nas.space import Architecture, SearchSpace
from surrogates.mixture import Mixture

OBJECTIVES = (Objective("quality", "", "maximize"), Objective("size", "", "minimize"))
SPACE = SearchSpace(tuple(Choice(f"c{number}", (0, 1, 2, 3)) for number in range(12)))
STRATEGIES = {"random": OptunaSampler("RandomSampler"), "surrogate": SurrogateSearch(Mixture)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--seconds", type=float, default=1.0, help="What an evaluation takes.")
    parser.add_argument("--rounds", type=int, default=8, help="Evaluations per worker.")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print("workers | storage | strategy | evaluations/s | share of the ideal")
    for workers in arguments.workers:
        for storage in ("in memory", "SQLite"):
            for strategy in arguments.strategies:
                rate = _rate(workers, storage, strategy, arguments.seconds, arguments.rounds)
                share = rate * arguments.seconds / workers
                print(f"{workers} | {storage} | {strategy} | {rate:.2f} | {share:.2f}", flush=True)


def _rate(workers: int, storage: str, strategy: str, seconds: float, rounds: int) -> float:
    """Return evaluations per second, the first one of every worker, which begins then, left out."""
    problem = Problem(SPACE, OBJECTIVES, lambda _: {}, lambda indices: 0.0 * indices[:, 0])
    sampler = STRATEGIES[strategy].sampler(problem, 0)
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Processes(_nothing, workers)) as made:
        if storage == "SQLite":
            study = open_study(Path(folder) / "study.db", "simulated", OBJECTIVES, sampler)
        else:
            study = optuna.create_study(directions=[o.direction for o in OBJECTIVES], sampler=sampler)
        ends: list[float] = []
        search_with(
            Persistent(made),
            study,
            problem,
            lambda architecture: partial(_evaluate, architecture, seconds),
            evaluations=workers * rounds,
            on_trial=lambda _: ends.append(time.perf_counter()),
        )
        assert len(complete_trials(study)) == workers * rounds
    return (len(ends) - 2 * workers) / (ends[-workers] - ends[workers])


def _nothing() -> None:
    """Return what a worker needs here."""


def _evaluate(architecture: Architecture, seconds: float, _workplace: None) -> dict[str, Measurement]:
    time.sleep(seconds)
    positions = [int(str(option)) for option in architecture.values()]
    quality = sum(position**0.5 for position in positions) - 0.2 * positions[0]
    found = {"quality": quality, "size": float(sum(positions))}
    return {name: Measurement(value, 0.0, "", "", 1) for name, value in found.items()}


if __name__ == "__main__":
    main()
