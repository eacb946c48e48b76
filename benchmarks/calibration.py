"""How often measured values lie in the intervals that the search predicted for them, before and after rescaling.

    python -m benchmarks.calibration --data FOLDER --table nb201-2 nb201-3-coarse --seeds 5 --evaluations 200

Every proposal's values are predicted before it is evaluated. Counted are those that lie within one deviation and
within 1.96, of the proposals up to each number of evaluations since the number before it: 68 % and 95 % if intervals
are right. "Before" is what the surrogate said itself, "after" with the deviations multiplied by what its earlier
predictions of the same search called for. Both are of the same search.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
import torch

from benchmarks.search import tables
from benchmarks.search.methods import default_strategy
from nas.errors import NasError
from nas.search.loop import search
from nas.search.models.calibration import surprise_of
from nas.search.record.trials import widening_of
from search_spaces.tabular import EvaluatedSpace

BUDGETS = (25, 50, 100, 200)
SHARES = {"68 %": 1.0, "95 %": 1.96}
TARGETS = {"68 %": "60 to 76", "95 %": "90 to 98"}

Surprises = dict[tuple[str, int], list[tuple[float, float]]]
"""By kind of objective and budget: how many deviations each value was off, before and after."""


def surprises(table: EvaluatedSpace, seed: int, evaluations: int) -> Surprises:
    """Return them for one search."""
    problem = table.problem()
    study = optuna.create_study(
        directions=[o.direction for o in table.objectives], sampler=default_strategy().sampler(problem, seed)
    )
    search(study, problem, table.evaluate, evaluations=evaluations, on_trial=lambda trial: None)
    found: Surprises = defaultdict(list)
    for number, trial in enumerate(study.trials, start=1):
        budget = next((b for b in BUDGETS if number <= b), None)
        for column, objective in enumerate(table.objectives):
            after = surprise_of(trial, objective.name, column)
            if after is not None and budget is not None:
                kind = "error" if objective.name == "error" else "latency"
                before = after * widening_of(trial).get(objective.name, 1.0)
                found[kind, budget].append((before, after))
    return found


def line(name: str, found: Surprises) -> str:
    """Return the shares, before → after, as a row of markdown."""
    cells = []
    for kind in ("error", "latency"):
        for budget in BUDGETS:
            offs = np.array(found.get((kind, budget), [])).reshape(-1, 2)
            shares = [np.mean(offs <= limit, axis=0) for limit in SHARES.values()] if len(offs) else []
            cells.append(", ".join(f"{100 * b:.0f} → {100 * a:.0f}" for b, a in shares) or "–")
    return f"| {' | '.join([name, *cells])} |"


def header() -> str:
    heads = [f"{kind}, {budget}" for kind in ("error", "latency") for budget in BUDGETS]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (["table", *heads], ["---"] * (1 + len(heads))))


def _merge(parts: Sequence[Surprises]) -> Surprises:
    merged: Surprises = defaultdict(list)
    for part in parts:
        for key, values in part.items():
            merged[key] += values
    return merged


def main() -> None:
    data = os.environ.get("NAS_DATA")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", nargs="+", choices=tables.NAMES, default=list(tables.USUAL))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--data", type=Path, default=Path(data) if data else None)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    print(
        f"share within the interval of {', '.join(f'{s} (target {TARGETS[s]})' for s in SHARES)}, before → after"
    )
    print(header())
    everything = []
    for name in arguments.table:
        table = tables.load(name, arguments.data).table
        found = _merge([surprises(table, s, arguments.evaluations) for s in range(arguments.seeds)])
        everything.append(found)
        print(line(name, found), flush=True)
    print(line("all", _merge(everything)))


if __name__ == "__main__":
    try:
        main()
    except NasError as error:
        sys.exit(f"error: {error}")
