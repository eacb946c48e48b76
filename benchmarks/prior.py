"""What an earlier study brings a search: on NAS-Bench-201, another data set's errors on another device.

    python -m benchmarks.prior --data FOLDER                        # both tables, ten seeds; an hour or two on one core
    python -m benchmarks.prior --data FOLDER --table nb201-2 --seeds 3 --evaluations 50
    python -m benchmarks.prior --data FOLDER --earlier cifar100:raspi4

The earlier study is our own search of 200 evaluations without a prior; it is kept in ``--out``. Hypervolume is a share
of the true front's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import torch

from benchmarks.search import tables
from benchmarks.search.ledger import Ledger, SpentError
from benchmarks.search.methods import default_strategy
from nas.choices import choice
from nas.knowledge import Knowledge
from nas.objective import Measurement, Objective
from nas.search.loop import search
from nas.space import Architecture, FloatArray, SearchSpace
from search_spaces.tabular import EvaluatedSpace

EVALUATIONS_BEFORE = 200
MARKS = (25, 50, 100)
TARGETS = {"nb201-2": (0.975, 0.990, 0.996), "nb201-3": (0.970, 0.985, 0.993)}
WAYS = ("with", "without", "shuffled")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.prior",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--table", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument(
        "--earlier", default="cifar100:pixel2", help="data set and device of the earlier study"
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=MARKS[-1])
    parser.add_argument("--out", type=Path, default=Path("runs/prior-benchmark"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    earlier = _earlier(arguments.data, arguments.earlier)
    rows = _rows(earlier, arguments.out / f"{arguments.earlier.replace(':', '-')}.json")
    for name in arguments.table:
        table = tables.load(name, arguments.data).table
        print(f"{name}, earlier study of {arguments.earlier}; targets {TARGETS[name]}", flush=True)
        for way in arguments.ways:
            run = partial(_history, table, earlier, rows, way, arguments.evaluations)
            print(_line(way, np.stack([run(seed) for seed in range(arguments.seeds)])), flush=True)


def _line(way: str, histories: FloatArray) -> str:
    """Return how a way to search did: means over seeds with standard deviations, and evaluations to 0.99."""
    shares = [
        f"{histories[:, mark - 1].mean():.4f} ± {histories[:, mark - 1].std():.4f}"
        for mark in MARKS
        if mark <= histories.shape[1]
    ]
    reached = (histories >= 0.99).any(axis=1)
    first = np.where(reached, (histories >= 0.99).argmax(axis=1) + 1.0, np.inf)
    after = f"0.99 after {np.median(first):.0f} (median; {reached.sum()} of {len(first)})"
    return f"  {way:>8}: {' | '.join(shares)} | {after}"


def _history(
    table: EvaluatedSpace, earlier: EvaluatedSpace, rows: list[int], way: str, evaluations: int, seed: int
) -> FloatArray:
    """Return the hypervolume ratio after each evaluation."""
    ledger = Ledger(table, evaluations)
    _search(ledger, _knowledge(table, earlier, rows, way, seed), seed)
    history = table.hypervolume_history(np.array(ledger.rows, dtype=np.int64))
    return np.pad(history, (0, evaluations - len(history)), mode="edge")


def _knowledge(
    table: EvaluatedSpace, earlier: EvaluatedSpace, rows: list[int], way: str, seed: int
) -> tuple[Knowledge, ...]:
    if way == "without":
        return ()
    rng = np.random.default_rng(seed)
    found = []
    for column, name in enumerate((table.objectives[0].name, table.objectives[-1].name)):
        values = earlier.costs[rows, column]
        told = rng.permutation(values) if way == "shuffled" else values
        found.append(Knowledge("earlier", earlier.positions[rows], told, name, are_costs=True))
    return tuple(found)


def _search(ledger: Ledger, knowledge: tuple[Knowledge, ...], seed: int) -> None:
    table = ledger.table
    problem = dataclasses.replace(table.problem(), knowledge=knowledge)
    study = optuna.create_study(
        directions=[objective.direction for objective in table.objectives],
        sampler=default_strategy().sampler(problem, seed),
    )

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        ledger.costs(table.space.indices([architecture]))
        return table.evaluate(architecture)

    try:
        search(study, problem, evaluate, evaluations=ledger.evaluations, on_trial=lambda trial: None)
    except SpentError:
        return


def _rows(earlier: EvaluatedSpace, path: Path) -> list[int]:
    """Return the rows that the earlier study evaluated, in order; it is searched now unless it is there."""
    if not path.exists():
        ledger = Ledger(earlier, EVALUATIONS_BEFORE)
        _search(ledger, (), seed=0)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(ledger.rows))
    rows: list[int] = json.loads(path.read_text())
    return rows


def _earlier(data: Path, name: str) -> EvaluatedSpace:
    dataset, device = name.split(":")
    with np.load(data / tables.NB201_FILE) as arrays:
        options = [str(option) for option in arrays["op_names"]]
        space = SearchSpace(tuple(choice(str(edge), *options) for edge in arrays["edge_names"]))
        error = 100.0 - arrays[f"acc12_{dataset}_valid"].astype(np.float64)
        latency = arrays[f"lat_ms_{device}"].astype(np.float64)
        positions = arrays["ops"].astype(np.int64)
    objectives = (Objective("error", "%", "minimize"), Objective("latency_ms", "ms", "minimize"))
    return EvaluatedSpace(name, space, objectives, positions, np.column_stack([error, latency]))


if __name__ == "__main__":
    main()
