"""What the search costs on the whole of Fashion-MNIST, against training every evaluated architecture from scratch.

    python -m benchmarks.fashion_cost --data $NAS_DATA --out runs/fashion-cost --evaluations 1000

Measured, on one core: one epoch of the supernet of ``studies/fashion_mnist.py`` with the sandwich rule, and one with a
single path; so many evaluations, proposals included, each on the whole search split; and one epoch of each of
``--alone`` networks, the middles of as many equal groups of the evaluated ones, sorted by MACs. Every epoch of the
study is taken for as long as the first, and the search is done in a supernet that has seen one. Three thousand
evaluations are extrapolated from the mean, unless they are run. Goes on where it was stopped; what the killed attempt
had spent on the thing it was at is not counted. Seconds are by the clock: leave a core free.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import optuna
import torch

from benchmarks.fashion_front import keep_seconds
from nas import SandwichRule, SinglePath, Study
from nas.evaluation.from_scratch import train_from_scratch
from nas.runner.context import RunContext
from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared, prepare
from nas.runner.progress import Silent
from nas.runner.searching import search_architectures
from nas.runner.supernet_training import train_supernet
from nas.search.record.trials import SECONDS, architecture_of, complete_trials, indices_of, list_paid_trials
from nas.space import Architecture, FloatArray
from nas.training.phases import SupernetTraining
from studies.fashion_mnist import study

_COUNTS = (1000, 3000)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--evaluations", type=int, default=1000)
    parser.add_argument("--alone", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs/fashion-cost"))
    arguments = parser.parse_args()
    os.environ["NAS_DATA"] = str(arguments.data)
    torch.set_num_threads(1)
    epochs = study().recipe.epochs
    one_epoch = dataclasses.replace(study(epochs=1), evaluations=arguments.evaluations)
    prepared = prepare(one_epoch, torch.device("cpu"))
    directory = RunDirectory(arguments.out / "run")
    with directory.lock():
        directory.claim(prepared.description())
        train_supernet(prepared, directory, Silent())
        context = RunContext.alone(prepared, directory, Silent())
        record = search_architectures(context, arguments.evaluations)
    print(f"{len(prepared.splits.train):,} images to train, {len(prepared.splits.search):,} to search")
    alone = np.array(
        [epoch_alone(prepared, a, arguments.out) for a in middles(prepared, record, arguments.alone)]
    )
    print(
        f"one epoch alone: {alone.mean():.1f} s, from {alone.min():.1f} to {alone.max():.1f}, {len(alone)} networks"
    )
    sandwich = supernet_epoch(one_epoch, SandwichRule(), arguments.out / "sandwich")
    single = supernet_epoch(one_epoch, SinglePath(), arguments.out / "single")
    for name, seconds in {"sandwich rule": sandwich, "single path": single}.items():
        print(f"one epoch of the supernet, {name}: {seconds:.0f} s, {seconds / alone.mean():.1f} times that")
    trainings = {
        "no training of the supernet": 0.0,
        "single path": single * epochs,
        "single path, twice the epochs": single * epochs * 2,
        "sandwich rule": sandwich * epochs,
    }
    evaluations = np.array([trial.user_attrs[SECONDS] for trial in list_paid_trials(record)])
    print_factors(float(alone.mean()), epochs, evaluations, trainings)


def print_factors(alone: float, epochs: int, evaluations: FloatArray, trainings: Mapping[str, float]) -> None:
    """Print how many times dearer training every candidate is than the search, with each training of the supernet."""
    winners, trust = study().winners, study().trust
    finishing = (winners.count + trust.count) * winners.recipe.epochs * alone
    print(
        f"one evaluation: {evaluations.mean():.3f} s; finishing: {finishing:.0f} s, the teacher's passes left out"
    )
    print("how many times less than training every candidate | " + " | ".join(trainings))
    for count in _COUNTS:
        how = "measured" if count <= len(evaluations) else f"{count - len(evaluations)} extrapolated"
        for name, more in {"": 0.0, ", with finishing": finishing}.items():
            spent = [supernet + count * evaluations.mean() + more for supernet in trainings.values()]
            factors = " | ".join(f"{count * alone * epochs / seconds:.0f}" for seconds in spent)
            print(f"{count} evaluations ({how}){name} | {factors}")


def supernet_epoch(study: Study, training: SupernetTraining, folder: Path) -> float:
    """Return the seconds of one epoch of the supernet; measured once."""
    prepared = prepare(dataclasses.replace(study, training=training), torch.device("cpu"))
    directory = RunDirectory(folder)
    with directory.lock():
        return train_supernet(prepared, directory, Silent())


def middles(prepared: Prepared, record: optuna.Study, count: int) -> list[Architecture]:
    """Return the middles of equal groups of the evaluated architectures, sorted by MACs."""
    trials = complete_trials(record)
    macs = prepared.counter.counts(indices_of(prepared.problem.space, trials)).macs
    rows = np.argsort(macs)[((np.arange(count) + 0.5) / count * len(trials)).astype(int)]
    return [architecture_of(prepared.problem.space, trials[row]) for row in rows]


def epoch_alone(prepared: Prepared, architecture: Architecture, folder: Path) -> float:
    """Return the seconds of one epoch from scratch; measured once."""
    note = folder / f"{architecture.id}.json"
    begin = time.perf_counter()
    if not note.exists():
        study, splits = prepared.study, prepared.splits
        train_from_scratch(
            study.network,
            architecture,
            splits.train,
            splits.task,
            study.recipe,
            seed=0,
            device=torch.device("cpu"),
        )
    return keep_seconds(note, time.perf_counter() - begin)


if __name__ == "__main__":
    main()
