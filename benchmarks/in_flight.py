"""What a search loses that has many evaluations in flight: hypervolume, beside a search that has one.

    python -m benchmarks.in_flight --data FOLDER --table nb201-2 nb201-3 --in-flight 1 8 32 --out runs/in_flight

On tables of architectures, with evaluations of a random length (uniform, by half of the mean up or down) on a simulated
clock, so that their ends have a random order. Printed is the hypervolume of each number in flight as a share of the
serial search's: mean over seeds of the ratio, its standard error, and the lowest. FOLDER as for ``benchmarks.search``.

A search takes half a minute to a minute. With ``--out`` each is kept there as soon as it is done, and the same command
goes on with those that are missing.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import optuna
import torch

from benchmarks.search import tables
from benchmarks.simulated import Simulated, SimulatedBeside, SkippingClock
from nas.executors import Persistent
from nas.files import digest, read_json, write_json
from nas.search import SurrogateSearch, loop
from nas.search.record.trials import by_completion, complete_trials
from surrogates.gaussian_process import GaussianProcess
from surrogates.mixture import Mixture

SHOWN = (50, 100, 200)
SURROGATES = {"mixture": Mixture, "gaussian-process": GaussianProcess}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("NAS_DATA")
    parser.add_argument("--data", type=Path, default=Path(data) if data else None)
    parser.add_argument("--table", nargs="+", choices=tables.NAMES, default=["nb201-2", "nb201-3"])
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--surrogate", choices=SURROGATES, default="mixture")
    parser.add_argument("--fit", type=float, default=1 / 30, help="What a fit takes, in evaluations.")
    parser.add_argument("--out", type=Path, help="Keeps what was found, and goes on from there.")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    for table in arguments.table:
        found: dict[int, list[float]] = {}
        for seed in arguments.seeds:
            for count in arguments.in_flight:
                history = _find_once(table, seed, count, arguments)
                found.setdefault(count, []).append(history[-1])
                shown = ", ".join(f"{history[n - 1]:.4f} after {n}" for n in SHOWN if n <= len(history))
                print(f"{table}, seed {seed}, {count} in flight: {shown}", flush=True)
        serial = np.array(found[arguments.in_flight[0]])
        for count, values in found.items():
            ratio = np.array(values) / serial
            error = ratio.std(ddof=1) / np.sqrt(len(ratio)) if len(ratio) > 1 else float("nan")
            print(f"{table} | {count} | {ratio.mean():.4f} ± {error:.4f} | {ratio.min():.4f}", flush=True)


def _find_once(name: str, seed: int, in_flight: int, arguments: argparse.Namespace) -> list[float]:
    """Return what :func:`_hypervolumes` does, from its file where there is one of the same settings."""
    if arguments.out is None:
        return _hypervolumes(name, seed, in_flight, arguments)
    settings = {
        "table": tables.load(name, arguments.data).digest,
        "surrogate": arguments.surrogate,
        "evaluations": arguments.evaluations,
        "fit": arguments.fit,
    }
    path = arguments.out / f"{name}-seed{seed}-{in_flight}-{digest(settings)[:8]}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**settings, "hypervolumes": _hypervolumes(name, seed, in_flight, arguments)})
    return [float(value) for value in read_json(path)["hypervolumes"]]


def _hypervolumes(name: str, seed: int, in_flight: int, arguments: argparse.Namespace) -> list[float]:
    """Return the ratio to the true front's hypervolume after each evaluation."""
    chosen = tables.load(name, arguments.data)
    table = chosen.table
    problem = table.problem()
    strategy = SurrogateSearch(SURROGATES[arguments.surrogate])
    study = optuna.create_study(
        directions=[o.direction for o in table.objectives], sampler=strategy.sampler(problem, seed)
    )
    clock, rng = SkippingClock(counts_work=False), np.random.default_rng(seed)
    executor = Simulated(clock, in_flight, lambda: float(rng.uniform(0.5, 1.5)), None)
    with mock.patch.object(loop, "Beside", partial(SimulatedBeside, clock, arguments.fit)):
        loop.search_with(
            Persistent(executor),
            study,
            problem,
            lambda architecture: lambda _: table.evaluate(architecture),
            evaluations=arguments.evaluations,
            on_trial=lambda _: None,
        )
    trials = by_completion(complete_trials(study))
    return table.hypervolume_history(table.rows(table.space.indices(t.params for t in trials))).tolist()


if __name__ == "__main__":
    main()
