"""A search with few latency measurements beside one that measures every candidate, on a table.

    python -m benchmarks.few_measurements --data FOLDER
    python -m benchmarks.few_measurements --data FOLDER --seeds 3 --measurements 20 80

FOLDER (or the environment variable NAS_DATA) holds ``nb201/nb201.npz``. Both searches have the same strategy, seeds and
number of evaluations. Of the one with few measurements, printed is the true hypervolume of what it measured, from which
winners are chosen, as a share of that of the other search, and how many latencies were measured in all.
Besides the options the model knows what every study counts: MACs and parameters.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import optuna
import torch

from benchmarks.search import tables
from benchmarks.search.methods import default_strategy
from nas.devices.latency_features import Known
from nas.objective import Measurement
from nas.search.loop import search
from nas.search.record.trials import complete_trials, indices_of, measure_later, measurements_of
from nas.search.spared import Spare, SparedLatency
from nas.space import Architecture, IntArray
from search_spaces.tabular import EvaluatedSpace


@dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        hypervolume: True one of what was measured, as a share of the table's.
        evaluated: The same of all architectures that it evaluated, measured or not.
        measured: How many latencies were measured.
        held_out: Error that the model states in the end.
        seconds: Seconds of the search.
    """

    hypervolume: float
    evaluated: float
    measured: int
    held_out: float
    seconds: float


def run_search(
    table: EvaluatedSpace, known: Known, seed: int, evaluations: int, measurements: int | None
) -> Found:
    """Search a table; with few measurements, unless there are as many as evaluations."""
    problem, begin = table.problem(), time.perf_counter()
    sampler = default_strategy().sampler(problem, seed)
    study = optuna.create_study(directions=[o.direction for o in table.objectives], sampler=sampler)
    latency = table.objectives[-1].name
    spared = SparedLatency(problem, Spare(latency, measurements or evaluations, known))

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        found = table.evaluate(architecture)
        if measurements is None:
            return found
        others = {name: value for name, value in found.items() if name != latency}
        return {
            **others,
            latency: spared.predict(spared.find_basis(study), architecture, others) or found[latency],
        }

    search(study, problem, evaluate, evaluations=evaluations, on_trial=lambda trial: None)
    while unsettled := spared.list_unsettled(study):
        for trial in unsettled:
            value = table.evaluate(table.space.architecture(trial.params))[latency]
            measure_later(study, trial.number, len(table.objectives) - 1, latency, value)
    trials = complete_trials(study)
    rows = table.rows(indices_of(table.space, trials))
    measured = np.array([measurements_of(trial)[latency].repeats > 0 for trial in trials])
    held_out = spared.held_out.error if spared.held_out else np.nan
    return Found(
        table.hypervolume_ratio(rows[measured]),
        table.hypervolume_ratio(rows),
        int(measured.sum()),
        held_out,
        time.perf_counter() - begin,
    )


def counts_of(table: EvaluatedSpace, folder: Path) -> Known:
    """Return what counts the MACs and parameters of NAS-Bench-201."""
    with np.load(folder / tables.NB201_FILE) as arrays:
        columns = np.stack([arrays["flops_m_cifar10"], arrays["params_m_cifar10"]], axis=1)

    def look_up(indices: IntArray) -> np.ndarray:
        found: np.ndarray = columns[table.rows(indices)]
        return found

    return look_up


def main() -> None:
    """Print both searches, seed by seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("NAS_DATA")
    parser.add_argument("--data", type=Path, default=data, required=data is None)
    parser.add_argument(
        "--table", default="nb201-2", choices=[n for n in tables.NAMES if n.startswith("nb201")]
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--measurements", type=int, nargs="+", default=[40])
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = tables.load(arguments.table, Path(arguments.data)).table
    known = counts_of(table, Path(arguments.data))
    ratios: dict[int, list[float]] = {budget: [] for budget in arguments.measurements}
    for seed in range(arguments.seeds):
        whole = run_search(table, known, seed, arguments.evaluations, None)
        print(f"seed {seed}: all measured {whole.hypervolume:.4f} ({whole.seconds:.0f} s)", flush=True)
        for budget in arguments.measurements:
            found = run_search(table, known, seed, arguments.evaluations, budget)
            ratios[budget].append(found.hypervolume / whole.hypervolume)
            print(
                f"  {budget}: measured {found.hypervolume:.4f}, all evaluated {found.evaluated:.4f}, ratio "
                f"{ratios[budget][-1]:.4f}, {found.measured} measured, held out {100 * found.held_out:.1f} % "
                f"({found.seconds:.0f} s)",
                flush=True,
            )
    for budget, found_ratios in ratios.items():
        print(f"{arguments.table}, {budget} measurements of {arguments.evaluations}: median ratio", end=" ")
        print(f"{median(found_ratios):.4f}, mean {np.mean(found_ratios):.4f}, least {min(found_ratios):.4f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
