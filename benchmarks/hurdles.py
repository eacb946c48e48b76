"""Progressive dynamic hurdles against full training, both without a supernet, at equal epochs in all.

    python -m benchmarks.hurdles --seeds 3 --out runs/hurdles

The digits study with half its epochs, accuracy against MACs, every candidate trained from scratch: all of
``--candidates`` with the whole recipe, then as many with hurdles after a sixth and a third of it as the same epochs
allow. Prints, per seed, candidates, the best accuracy on the search split, and the hypervolume of both fronts in one
box. More candidates, more luck: on the same 360 images the best of many is flattered more, which favours hurdles.
Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import optuna
import torch

from nas import Accuracy, FromScratch, Hurdles, Macs, Study
from nas.runner.context import RunContext
from nas.runner.directory import RunDirectory
from nas.runner.preparation import prepare
from nas.runner.progress import Silent
from nas.runner.searching import search_architectures
from nas.runner.weights import EPOCHS
from nas.search.record.reference_box import ReferenceBox
from nas.search.record.trials import complete_trials, costs_of, measurements_of
from nas.space import FloatArray
from studies.digits import study

_STEP = 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--candidates", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/hurdles"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    base = study()
    epochs = base.recipe.epochs // 2
    base = dataclasses.replace(
        base, recipe=dataclasses.replace(base.recipe, epochs=epochs), objectives=(Accuracy(), Macs())
    )
    budget = arguments.candidates * epochs
    stages = (epochs // 6, epochs // 3)
    print(f"{budget} epochs in all; whole recipe {epochs} epochs, hurdles after {stages[0]} and {stages[1]}")
    print("seed | candidates: full, hurdles | trained to the end | best accuracy | hypervolume | ratio")
    for seed in range(arguments.seeds):
        named = {"full": FromScratch(), "hurdles": FromScratch(Hurdles(after=stages, every=_STEP))}
        costs, ends = {}, {}
        for name, how in named.items():
            variant = dataclasses.replace(base, seed=seed, training=how)
            costs[name], ends[name] = search_budget(variant, budget, arguments.out / f"{name}-{seed}")
        box = ReferenceBox.around(np.concatenate(list(costs.values())))
        volumes = {name: box.hypervolume(table) for name, table in costs.items()}
        best = {name: 1 - table[:, 0].min() for name, table in costs.items()}
        print(
            f"{seed} | {len(costs['full'])}, {len(costs['hurdles'])} | {ends['full']}, {ends['hurdles']} | "
            f"{best['full']:.4f}, {best['hurdles']:.4f} | {volumes['full']:.4f}, {volumes['hurdles']:.4f} | "
            f"{volumes['hurdles'] / volumes['full']:.3f}",
            flush=True,
        )


def search_budget(variant: Study, budget: int, folder: Path) -> tuple[FloatArray, int]:
    """Search until so many epochs were given.

    Returns:
        ``(n, m)`` costs of the candidates within the budget, their error first, and how many were trained to the end.
    """
    prepared = prepare(variant, torch.device("cpu"))
    directory = RunDirectory(folder)
    context = RunContext.alone(prepared, directory, Silent())
    evaluations, given = 0, np.zeros(0)
    with directory.lock():
        directory.claim(prepared.description())
        while given.sum() < budget:
            evaluations += _STEP
            record = search_architectures(context, evaluations)
            trials = complete_trials(record)
            given = np.array([measurements_of(trial)[EPOCHS].value for trial in trials])
    kept = np.cumsum(given) <= budget
    costs = costs_of(prepared.problem.objectives, trials)[kept]
    return np.column_stack([1 + costs[:, 0], costs[:, 1:]]), int((given[kept] == variant.recipe.epochs).sum())


if __name__ == "__main__":
    main()
