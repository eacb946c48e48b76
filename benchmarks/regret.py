"""What a search in the supernet of ``benchmarks.supernet_table`` loses: its ranking against training alone, and regret.

    python -m benchmarks.regret
    python -m benchmarks.regret --supernet runs/supernet-table --data $NAS_DATA

Of the architectures that were trained alone, those on the front of error and MACs by the supernet's word are its
winners. Regret is what they lose, trained alone, against the best that all of them reach at no more MACs, in points,
and their share of all's hypervolume; each architecture alone is the mean over its seeds. No ranking can agree with
noise: the tau between two seeds is printed beside. Sizes differ a hundredfold and tell much without any supernet, so
there is the tau beyond MACs too: Kendall's partial one. Intervals are of 95 %.

With the supernet's folder other ways to ask it are tried, all on the whole search split: other numbers of images for
the batch-norm statistics, the loss in place of the accuracy, and ten steps of training for each architecture.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import nn

from benchmarks.supernet_table import fashion_study, judge
from benchmarks.tables.supernet import FILE, SupernetTable, read_table
from nas import Recipe, pareto
from nas.agreement import rank_agreement
from nas.inputs import take_items
from nas.regret import regret
from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared, prepare
from nas.runner.progress import Silent
from nas.runner.supernet_training import train_supernet
from nas.space import Architecture, FloatArray
from nas.supernet.recalibrate import extract_recalibrated, recalibrate_on
from nas.training import train
from nas.training.steps import make_supervised_step

_ADAPTATION = Recipe(epochs=1, batch_size=128, learning_rate=1e-3)
_ADAPTATION_STEPS = 10

Ask = Callable[[Prepared, Architecture], nn.Module]
"""Returns an architecture with the supernet's weights, ready to be judged."""


def recalibrate_on_images(images: int) -> Ask:
    """Return what gives an architecture batch-norm statistics of its own, of so many training images."""
    return lambda prepared, architecture: extract_recalibrated(
        prepared.supernet, architecture, prepared.splits.train, images
    )


def adapt(prepared: Prepared, architecture: Architecture) -> nn.Module:
    """Return an architecture after ten steps of training and a recalibration."""
    module, whole = (
        extract_recalibrated(prepared.supernet, architecture, prepared.splits.train),
        prepared.splits.train,
    )
    rows = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    rows = rows[: _ADAPTATION_STEPS * _ADAPTATION.batch_size]
    part = dataclasses.replace(whole, inputs=take_items(whole.inputs, rows), targets=whole.targets[rows])
    step = make_supervised_step(module, prepared.splits.task, _ADAPTATION)
    train(module, step, part, _ADAPTATION, seed=0, device=prepared.training_device)
    recalibrate_on(module, whole, prepared.training_device)
    return module.eval()


WAYS: dict[str, Ask] = {
    "64 images": recalibrate_on_images(64),
    "512 images": recalibrate_on_images(512),
    "2,048 images": recalibrate_on_images(2_048),
    f"{_ADAPTATION_STEPS} steps, 512 images": adapt,
}


def row(title: str, table: SupernetTable, quality: FloatArray, seconds: float | None = None) -> str:
    """Return how a way of asking ranks what was trained alone, as a row of a table.

    Args:
        title: What the way is called.
        table: Has what was trained alone.
        quality: ``(k,)`` of these, the larger the better.
        seconds: For each architecture.
    """
    rows, alone = table.read_trained_alone()
    after, macs = alone.mean(axis=1), table.macs[rows].astype(np.float64)
    agreement = rank_agreement(quality.tolist(), after.tolist())
    winners = pareto.non_dominated(np.column_stack([-quality, macs]))
    noise = np.full(len(rows), seed_noise(alone) / np.sqrt(alone.shape[1]))
    lost = regret(np.column_stack([100 * (1 - after), macs]), winners, 100 * noise, sampled=True)
    cost = "" if seconds is None else f"{seconds:.2f}"
    points, share = (lost.best, lost.front) if lost else ("–", "–")
    tau = agreement and agreement.tau
    beyond = partial_tau(quality, after, macs)
    return (
        f"| {title} | {tau} | {beyond:.2f} | {points} | {share} | {winners.sum()} of {len(rows)} | {cost} |"
    )


def partial_tau(some: FloatArray, others: FloatArray, given: FloatArray) -> float:
    """Return Kendall's tau of two columns beyond what a third one tells of both; 0 where it tells all."""
    both, first, second = (
        kendalltau(*pair).statistic for pair in ((some, others), (some, given), (others, given))
    )
    left = np.sqrt((1 - first**2) * (1 - second**2))
    return float((both - first * second) / left) if left > 0 else 0.0


def seed_noise(alone: FloatArray) -> float:
    """Return the standard deviation of an accuracy over seeds, from ``(k, seeds)``."""
    return float(np.sqrt(alone.var(axis=1, ddof=1).mean()))


def show_table(table: SupernetTable) -> None:
    """Print what the table alone tells."""
    rows, alone = table.read_trained_alone()
    between = rank_agreement(alone[:, 0].tolist(), alone[:, 1].tolist())
    print(
        f"{len(rows)} architectures trained alone with {alone.shape[1]} seeds: {100 * alone.min():.1f} to "
        f"{100 * alone.max():.1f} %, {100 * seed_noise(alone):.2f} points from seed to seed; tau between two seeds "
        f"{between and between.tau}\n"
    )
    print("| the supernet's word | tau | beyond MACs | points lost | hypervolume | winners | CPU s each |")
    print("|---|---|---|---|---|---|---|")
    print(row("accuracy in the table", table, table.accuracy[rows]))
    print(row("loss in the table", table, -table.loss[rows]))
    print(row("MACs alone, no supernet", table, np.log(table.macs[rows])), flush=True)


def show_ways(table: SupernetTable, folder: Path, data: Path) -> None:
    """Print how other ways of asking the supernet rank."""
    prepared = prepare(fashion_study(data), torch.device("cpu"))
    train_supernet(prepared, RunDirectory(folder), Silent())
    architectures = table.space.from_indices(table.positions[table.read_trained_alone()[0]])
    for title, ask in WAYS.items():
        begin = time.process_time()
        found = [judge(prepared, ask(prepared, architecture)) for architecture in architectures]
        seconds = (time.process_time() - begin) / len(architectures)
        for kind, sign in (("accuracy", 1), ("loss", -1)):
            quality = np.array([sign * one[kind] for one in found])
            print(row(f"{kind}, {title}", table, quality, seconds), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=FILE)
    parser.add_argument(
        "--supernet", type=Path, help="folder of benchmarks.supernet_table, to ask it in other ways"
    )
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = read_table(arguments.table)
    show_table(table)
    if arguments.supernet is not None:
        show_ways(table, arguments.supernet, arguments.data)


if __name__ == "__main__":
    main()
