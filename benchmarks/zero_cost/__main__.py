"""How well scores of untrained networks rank trained ones, and what a search gains by them.

    python -m benchmarks.zero_cost ranks --data $NAS_DATA --out runs/zero-cost
    python -m benchmarks.zero_cost search --data $NAS_DATA --out runs/zero-cost --seeds 3
    python -m benchmarks.zero_cost alone --file runs/alone.json --out runs/zero-cost

``ranks`` scores random networks of NAS-Bench-201 on CIFAR-10, with one cell in each stage, and the perceptrons of the
digits table, and compares with their accuracies; ``search`` lets searches on tables of these know the scores, or not;
``alone`` scores what ``benchmarks.digits_alone`` has trained of the digits study. What is scored is kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import optuna
import torch

from benchmarks.search.tables import load
from benchmarks.zero_cost.cells import score_cells
from benchmarks.zero_cost.perceptrons import score_perceptrons
from benchmarks.zero_cost.ranks import print_ranks
from benchmarks.zero_cost.scored import Scored
from benchmarks.zero_cost.searching import KNOWN, print_searches
from nas import FromScratch, ZeroCost
from nas.evaluation.zero_cost import COUNTED, SCORES
from nas.runner.directory import RunDirectory
from nas.runner.preparation import prepare
from nas.runner.progress import Silent
from nas.runner.zero_cost import UntrainedNetworks
from search_spaces.digits_mlp import digits_mlp_table
from studies.digits import study


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("ranks", "search", "alone"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--file", type=Path, help="of benchmarks.digits_alone")
    parser.add_argument("--out", type=Path, default=Path("runs/zero-cost"))
    parser.add_argument("--networks", type=int, default=300)
    parser.add_argument("--tables", nargs="+", default=["digits", "nb201-2", "nb201-3"])
    parser.add_argument("--known", nargs="+", choices=tuple(KNOWN), default=tuple(KNOWN))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.what == "alone":
        rank_alone(arguments.file, arguments.out)
    elif arguments.what == "ranks":
        rank_tables(arguments.data, arguments.networks, arguments.out)
    else:
        for name in arguments.tables:
            scored = score_rows(name, arguments.data, arguments.networks, arguments.out)
            table = load(name, arguments.data)
            print_searches(table.table, scored, arguments.seeds, table.budgets[:2], arguments.known)


def score_rows(table: str, data: Path, networks: int, out: Path) -> Scored:
    if table == "digits":
        return score_perceptrons(min(networks, 100), out / "perceptrons.json")
    return score_cells(data, networks, out / "cells.json")


def rank_tables(data: Path, networks: int, out: Path) -> None:
    perceptrons = score_perceptrons(len(digits_mlp_table().values), out / "perceptrons.json")
    accuracies = 1 - digits_mlp_table().values[perceptrons.rows, 0]
    print_ranks("Digits, perceptrons", perceptrons.values, accuracies, perceptrons.seconds)
    cells = score_cells(data, networks, out / "cells.json")
    with np.load(data / "nb201" / "nb201.npz") as arrays:
        short, long = arrays["acc12_cifar10_valid"][cells.rows], arrays["acc200_cifar10_test"][cells.rows]
    print_ranks("NAS-Bench-201, CIFAR-10, 12 epochs", cells.values, short.astype(np.float64), cells.seconds)
    print_ranks("NAS-Bench-201, CIFAR-10, 200 epochs", cells.values, long.astype(np.float64), cells.seconds)


def rank_alone(file: Path, out: Path) -> None:
    digits = dataclasses.replace(study(), training=FromScratch(), zero_cost=ZeroCost(at_least=2, at_most=2))
    prepared = prepare(digits, torch.device("cpu"))
    by_id: dict[str, list[float]] = {}
    choices = {}
    for row in json.loads(file.read_text()):
        by_id.setdefault(row["id"], []).append((row["accuracy"] + row["test"]["accuracy"]) / 2)
        choices[row["id"]] = row["choices"]
    space = prepared.supernet.space
    indices = space.indices([space.architecture(options) for options in choices.values()])
    untrained = UntrainedNetworks(prepared, RunDirectory(out))
    untrained.score(indices, Silent())
    seconds = {name: spent / len(untrained.known.scores) for name, spent in untrained.known.seconds.items()}
    values = {name: untrained.values(name, indices) for name in (*SCORES, *COUNTED)}
    reached = np.array([np.mean(found) for found in by_id.values()])
    print_ranks("Digits, accuracy of search and test split", values, reached, seconds)
    twice = [found for found in by_id.values() if len(found) > 1]
    if len(twice) > 1:
        first, second = np.array([found[:2] for found in twice]).T
        print_ranks("Another training, instead of a score", {"another seed": first}, second, {})


if __name__ == "__main__":
    main()
