"""How well supernets of the digits study rank, by training recipe, against architectures that were trained alone.

    python -m benchmarks.digits_alone --epochs 16 --out alone.json
    python -m benchmarks.ranking --alone alone.json --recipe sandwich --epochs 32 --adapt 34 --out runs/bench

Of each recipe: seconds of a core, Kendall's tau with the mean accuracy of the trainings alone, over all architectures
and over those of 60,000 MACs or more, as 19 of 20 are that are drawn at random; and what six winners lose that are
chosen among them by accuracy and MACs (``nas.regret``). First what two trainings alone agree on, and the highest tau
that an order without any noise can have with their mean: the correlation that belongs to tau (Greiner's
sin(pi tau / 2)) is taken for the reliability of one training. Supernets are kept in the folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.digits_alone import quality
from nas import SandwichRule, SinglePath, pareto
from nas.agreement import kendall_tau
from nas.evaluation.from_scratch import fresh_network
from nas.export.folder import load_weights, save_weights
from nas.regret import regret
from nas.runner.adapting import train_briefly
from nas.space import FloatArray
from nas.splits import Splits
from nas.supernet import Supernet
from nas.supernet.recalibrate import extract_recalibrated
from nas.training import train
from nas.training.phases import SupernetTraining
from studies.digits import study

CPU = torch.device("cpu")
RECIPES: dict[str, SupernetTraining] = {
    "sandwich": SandwichRule(),
    "sandwich-4": SandwichRule(num_random=4),
    "single": SinglePath(),
}
_LARGER = 60_000
_WINNERS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", type=Path, required=True)
    parser.add_argument("--recipe", choices=RECIPES, default="sandwich")
    parser.add_argument("--epochs", type=int, default=study().recipe.epochs)
    parser.add_argument("--ema", type=float, help="decay of a moving average of the weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recalibrate", type=int, nargs="+", default=[512])
    parser.add_argument(
        "--adapt", type=int, nargs="*", default=[], help="steps of training of each architecture"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = complete_rows(json.loads(arguments.alone.read_text()))
    macs = np.array([found[0]["macs"] for found in rows.values()], dtype=np.float64)
    both = np.array([[one["accuracy"] for one in found] for found in rows.values()])
    print_ceiling(both, macs)
    splits = study().data.load()
    supernet, seconds = train_supernet(splits, arguments)
    architectures = [supernet.space.architecture(found[0]["choices"]) for found in rows.values()]
    for items in arguments.recalibrate:
        begin = time.process_time()
        modules = (extract_recalibrated(supernet, one, splits.train, items) for one in architectures)
        found = [quality(module, splits.search, splits) for module in modules]
        each = (time.process_time() - begin) / len(found)
        print(f"supernet {seconds:.0f} s, recalibrated on {items}, an architecture {each:.2f} s", flush=True)
        print_rows(found, both.mean(1), macs)
    for steps in arguments.adapt:
        begin, found = time.process_time(), []
        for one in architectures:
            module = extract_recalibrated(supernet, one, splits.train)
            made = train_briefly(study(), splits, module, steps, CPU)
            found.append(quality(made, splits.search, splits))
        each = (time.process_time() - begin) / len(found)
        print(f"supernet {seconds:.0f} s, adapted by {steps} steps, an architecture {each:.2f} s", flush=True)
        print_rows(found, both.mean(1), macs)


def complete_rows(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the trainings alone by architecture, of those that have as many as any."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["id"], []).append(row)
    most = max(map(len, found.values()))
    return {name: trainings for name, trainings in found.items() if len(trainings) == most}


def train_supernet(splits: Splits, arguments: argparse.Namespace) -> tuple[Supernet, float]:
    """Return a supernet, and the seconds of a core that its training took."""
    supernet = fresh_network(study().network, arguments.seed)
    name = f"{arguments.recipe}-{arguments.epochs}-{arguments.ema}-{arguments.seed}"
    weights, clock = arguments.out / f"{name}.safetensors", arguments.out / f"{name}.seconds.json"
    if clock.exists():
        load_weights(weights, supernet)
        return supernet.eval(), float(json.loads(clock.read_text()))
    recipe = dataclasses.replace(study().recipe, epochs=arguments.epochs, ema_decay=arguments.ema)
    (phase,) = RECIPES[arguments.recipe].phases(supernet, recipe, splits.task)
    begin = time.process_time()
    train(supernet, phase.step(), splits.train, phase.recipe, seed=arguments.seed, device=CPU)
    seconds = time.process_time() - begin
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_weights(weights, supernet)
    clock.write_text(json.dumps(seconds))
    return supernet.eval(), seconds


def print_ceiling(both: FloatArray, macs: FloatArray) -> None:
    for name, rows in parts(macs).items():
        tau = kendall_tau(both[rows, 0], both[rows, 1])
        reliability = np.sin(np.pi / 2 * tau)
        highest = 2 / np.pi * np.arcsin(np.sqrt(2 * reliability / (1 + reliability))) if tau > 0 else np.nan
        of_macs = kendall_tau(macs[rows], both.mean(1)[rows])
        print(
            f"{name}, {rows.sum()} architectures: two trainings agree with tau {tau:.2f}, so no order can be expected "
            f"to have more than {highest:.2f} with their mean; that of MACs has {of_macs:.2f}",
            flush=True,
        )
    print_row("the trainings alone", both.mean(1), both.mean(1), macs)


def print_rows(found: list[dict[str, float]], alone: FloatArray, macs: FloatArray) -> None:
    print_row("  by accuracy", np.array([one["accuracy"] for one in found]), alone, macs)
    print_row("  by cross-entropy", np.array([-one["loss"] for one in found]), alone, macs)


def print_row(name: str, values: FloatArray, alone: FloatArray, macs: FloatArray) -> None:
    """Print how well values order architectures, the higher the better, and what is lost by a choice by them."""
    taus = "; ".join(
        f"{part} {kendall_tau(values[rows], alone[rows]):.2f}" for part, rows in parts(macs).items()
    )
    lost = regret(
        np.column_stack([1 - alone, macs]), choose_winners(values, macs), np.zeros(len(macs)), sampled=False
    )
    assert lost is not None
    print(
        f"{name}: tau {taus}, regret {100 * lost.best.value:.2f} points, front {lost.front.value:.4f}, values of "
        f"{values.min():.3f} to {values.max():.3f}",
        flush=True,
    )


def parts(macs: FloatArray) -> dict[str, NDArray[np.bool_]]:
    return {"all": macs > 0, "larger": macs >= _LARGER}


def choose_winners(values: FloatArray, macs: FloatArray) -> NDArray[np.bool_]:
    """Return which are winners: of the front, those that keep most of its hypervolume, the best first."""
    costs = np.column_stack([-values, macs])
    front = np.flatnonzero(pareto.non_dominated(costs))
    scaled = (costs[front] - costs.min(0)) / np.ptp(costs, axis=0)
    rows = pareto.spread_subset(scaled, _WINNERS, np.full(2, 1.1), int(np.argmin(scaled[:, 0])))
    is_winner = np.zeros(len(values), dtype=np.bool_)
    is_winner[front[rows]] = True
    return is_winner


if __name__ == "__main__":
    main()
