"""Seconds that a proposal costs while a study grows: ours beside Optuna's NSGA-II, in memory.

    python -m benchmarks.search_overhead --trials 100 1000 10000

A synthetic space of 16 choices with four options (4.3e9 architectures), two learned objectives and a counted one. The
study is filled with random finished trials; then the search loop runs on from there, and the CPU seconds of further
trials are measured after a first one: three whole batches of eight, for NSGA-II two whole generations of fifty.
Evaluations cost nothing. Growth is the exponent of a power law through the last two sizes: 1 is linear.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.search.methods import default_strategy
from nas.choices import choice
from nas.objective import Measurement, Objective
from nas.search import OptunaSampler
from nas.search.loop import search
from nas.search.record.trials import ARCHITECTURE, MEASUREMENTS, SECONDS, distributions
from nas.space import Architecture, FloatArray, IntArray, SearchSpace
from nas.strategy import Problem, Strategy

NUM_CHOICES, NUM_OPTIONS = 16, 4
TARGETS = {100: 0.3, 1000: 0.6, 10000: 2.0}


def values(indices: IntArray) -> Mapping[str, FloatArray]:
    """Return all objectives of ``(n, 16)`` positions: sums with interactions between neighbouring choices."""
    weights = np.linspace(0.5, 1.5, NUM_CHOICES)
    position = indices / (NUM_OPTIONS - 1)
    pairs = (position[:, 1:] * position[:, :-1]).sum(axis=1)
    return {
        "error": np.exp(-(np.sqrt(position) @ weights + 0.3 * pairs) / 8),
        "latency": 1.0 + position @ weights[::-1] + 0.5 * pairs,
        "macs": 1e6 * (1.0 + (indices**2).sum(axis=1)),
    }


def problem() -> Problem:
    space = SearchSpace(tuple(choice(f"c{n}", *range(NUM_OPTIONS)) for n in range(NUM_CHOICES)))
    return Problem(
        space=space,
        objectives=tuple(Objective(name, "", "minimize") for name in ("error", "latency", "macs")),
        count=lambda indices: {"macs": values(indices)["macs"]},
        violation=lambda indices: np.zeros(len(indices)),
    )


def evaluate(searched: Problem, architecture: Architecture) -> dict[str, Measurement]:
    found = values(searched.space.indices([architecture]))
    return {name: Measurement(float(value[0]), 0.0, "", "", 1) for name, value in found.items()}


def fill_study(searched: Problem, strategy: Strategy, num_trials: int) -> optuna.Study:
    """Return a study in memory with as many different random architectures, evaluated."""
    study = optuna.create_study(
        directions=[o.direction for o in searched.objectives], sampler=strategy.sampler(searched, 0)
    )
    space = searched.space
    drawn = space.sample_indices(2 * num_trials, np.random.default_rng(0))
    for architecture in list(dict.fromkeys(space.from_indices(drawn)))[:num_trials]:
        measured = evaluate(searched, architecture)
        attributes = {
            ARCHITECTURE: architecture.id,
            MEASUREMENTS: {name: m.to_json() for name, m in measured.items()},
            SECONDS: 0.0,
        }
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                values=[m.value for m in measured.values()],
                params=dict(architecture),
                distributions=distributions(space),
                user_attrs=attributes,
            )
        )
    return study


def seconds_per_proposal(strategy: Strategy, num_trials: int, num_measured: int) -> float:
    """Return CPU seconds per trial of the search loop, over so many trials."""
    searched = problem()
    study = fill_study(searched, strategy, num_trials)
    moments: list[float] = []

    def note(_trial: FrozenTrial) -> None:
        moments.append(time.process_time())

    wanted = num_trials + 1 + num_measured
    search(study, searched, lambda a: evaluate(searched, a), evaluations=wanted, on_trial=note)
    return (moments[num_measured] - moments[0]) / num_measured


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10000])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    strategies: dict[str, tuple[Strategy, int]] = {
        "ours": (default_strategy(), 3 * 8),
        "Optuna NSGA-II": (OptunaSampler("NSGAIISampler"), 2 * 50),
    }
    print("CPU seconds per proposal | " + " | ".join(f"{n:,} trials" for n in arguments.trials) + " | growth")
    for name, (strategy, num_measured) in strategies.items():
        seconds = [seconds_per_proposal(strategy, number, num_measured) for number in arguments.trials]
        cells = [f"{s:.3f}" for s in seconds]
        print(" | ".join([name, *cells, _growth(arguments.trials, seconds)]), flush=True)
    wanted = (f"{TARGETS[n]:.1f}" if n in TARGETS else "" for n in arguments.trials)
    print("target | " + " | ".join(wanted) + " | at most 1")


def _growth(trials: list[int], seconds: list[float]) -> str:
    if len(trials) < 2 or min(seconds) <= 0:
        return "–"
    return f"{np.log(seconds[-1] / seconds[-2]) / np.log(trials[-1] / trials[-2]):.2f}"


if __name__ == "__main__":
    main()
