"""Training in a reduced parameter space beside standard training, on the digits.

    python -m benchmarks.reduced_space --seeds 5

Perceptrons of two hidden layers, with the same recipe and from the same random weights: with ReLU neurons on unit
spheres and thresholds in intervals; standard; and standard from the weights that the first one begins with, which shows
what the beginning does. The loss of the training split after some epochs says how fast each converges, the accuracy of
the test split what it is worth.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from nas import Recipe
from nas.data import Digits
from nas.splits import Splits
from nas.training import make_supervised_step, train
from nas.training.reduced_space import UnitSpheres

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 5e-3, 2e-2])
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    epochs = arguments.epochs
    shown = [epochs // 6, epochs // 3, epochs]
    print(
        f"loss of training after {shown} epochs; accuracy of the test split in percent; {arguments.seeds} seeds"
    )
    for width in arguments.widths:
        for rate in arguments.rates:
            rows: dict[str, list[tuple[float, ...]]] = {}
            for seed in range(arguments.seeds):
                for name, found in results_of(width, Recipe(epochs, learning_rate=rate), seed, shown):
                    rows.setdefault(name, []).append(found)
            for name, found_by_seed in rows.items():
                columns = [spread(values) for values in zip(*found_by_seed, strict=True)]
                print(f"width {width:3d}  rate {rate:g}  {name:34s}  {'  '.join(columns)}", flush=True)
            better = [compare(rows["reduced space"], rows[name]) for name in rows if name != "reduced space"]
            print(
                f"    seeds in which the reduced space has the lower loss in the end, and is more accurate: {better}"
            )


def results_of(
    width: int, recipe: Recipe, seed: int, shown: list[int]
) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Yield losses and accuracy by the name of the training."""
    splits = Digits(seed).load()
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, 10),
    )
    normalised = copy.deepcopy(network)
    UnitSpheres(normalised, splits.train, CPU)
    yield "reduced space", train_copy(network, splits, replace(recipe, reduced_space=True), seed, shown)
    yield "standard", train_copy(network, splits, recipe, seed, shown)
    yield "standard, from the same beginning", train_copy(normalised, splits, recipe, seed, shown)


def train_copy(
    network: nn.Module, splits: Splits, recipe: Recipe, seed: int, shown: list[int]
) -> tuple[float, ...]:
    """Return the losses after some epochs and the accuracy in the end, of a copy that is trained."""
    network = copy.deepcopy(network)
    step = make_supervised_step(network, splits.task, recipe)
    losses = train(network, step, splits.train, recipe, seed=seed, device=CPU)
    with torch.no_grad():
        outputs = network(splits.test.batch(slice(None)))
    right = (outputs.argmax(1) == splits.test.targets).double().mean().item()
    return (*(losses[epoch - 1] for epoch in shown), 100 * right)


def spread(values: tuple[float, ...]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.3f} ± {deviation:.3f}"


def compare(ours: list[tuple[float, ...]], theirs: list[tuple[float, ...]]) -> tuple[int, int]:
    pairs = list(zip(ours, theirs, strict=True))
    return sum(a[-2] < b[-2] for a, b in pairs), sum(a[-1] > b[-1] for a, b in pairs)


if __name__ == "__main__":
    main()
