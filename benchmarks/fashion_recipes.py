"""Kendall's tau of each training recipe: supernet accuracy against ``benchmarks.fashion_alone``.

    python -m benchmarks.fashion_recipes --data $NAS_DATA --alone /tmp/alone.json --recipe sandwich \
        --epochs 15 --out /tmp/recipes

Goes on where it was stopped. Both accuracies are of the same 2,000 images; the interval is a bootstrap over
architectures. ``--recalibrate`` tries several numbers of images for the batch-norm statistics.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.fashion import FashionSubset, fashion_network
from nas import NoTraining, ProgressiveShrinking, Recipe, SandwichRule, SinglePath, Supernet
from nas.agreement import rank_agreement
from nas.evaluation import Accuracy, SubnetCandidate
from nas.evaluation.from_scratch import fresh_network
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objectives import Bench
from nas.search.models.stand_alone import TwoFidelities
from nas.space import SearchSpace
from nas.splits import Splits
from nas.supernet import recalibrate
from nas.tasks import Classification
from nas.training import train
from nas.training.phases import SupernetTraining

CLASSES = Classification(10)

RECIPES: dict[str, SupernetTraining] = {
    "sandwich": SandwichRule(),
    "shrinking": ProgressiveShrinking(),
    "single": SinglePath(),
    "none": NoTraining(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--alone", type=Path, required=True)
    parser.add_argument("--recipe", choices=RECIPES, required=True)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recalibrate", type=int, nargs="+", default=[512])
    parser.add_argument("--begin", type=Path, help="A checkpoint whose weights to begin with, for 'none'.")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    splits = FashionSubset(arguments.data).load()
    supernet = fresh_network(fashion_network, arguments.seed)
    seconds = train_supernet(supernet, splits, arguments)
    alone = accuracy_alone(arguments.alone)
    for images in arguments.recalibrate:
        before = [accuracy(supernet, splits, choices, images) for choices, _ in alone.values()]
        after = [value for _, value in alone.values()]
        found = rank_agreement(before, after)
        print(
            f"{arguments.recipe}, {arguments.epochs} epochs, seed {arguments.seed}, {images} images to "
            f"recalibrate, {seconds:.0f} s: tau {found and found.tau}, Spearman {found and found.spearman}, "
            f"supernet {min(before):.4f} to {max(before):.4f}, alone {min(after):.4f} to {max(after):.4f}",
            flush=True,
        )
        print(json.dumps({"before": before, "after": after}), flush=True)
        told = rank_agreement(leave_one_out(supernet.space, alone, before, after), after)
        print(f"with the others' accuracies alone as a second fidelity: tau {told and told.tau}", flush=True)


def leave_one_out(
    space: SearchSpace,
    alone: dict[str, tuple[dict[str, int], float]],
    before: list[float],
    after: list[float],
) -> list[float]:
    """Return the accuracy alone that each architecture is expected to reach, given those of all others."""
    rows = space.indices(space.architecture(choices) for choices, _ in alone.values())
    cheap, dear = np.array(before), np.array(after)
    told = []
    for row in range(len(rows)):
        others = np.arange(len(rows)) != row
        model = TwoFidelities(space, rows[others], cheap[others], dear[others])
        told.append(float(model.alone(rows[[row]], cheap[[row]])[0]))
    return told


def train_supernet(supernet: Supernet, splits: Splits, arguments: argparse.Namespace) -> float:
    """Train the supernet in place and return the seconds of this attempt."""
    begin = time.perf_counter()
    if arguments.begin is not None:
        supernet.load_state_dict(torch.load(arguments.begin, weights_only=True)["model"])
    name = f"{arguments.recipe}-{arguments.epochs}-{arguments.seed}"
    recipe = Recipe(epochs=arguments.epochs, batch_size=128)
    for number, phase in enumerate(RECIPES[arguments.recipe].phases(supernet, recipe, CLASSES)):
        train(
            supernet,
            phase.step(),
            splits.train,
            phase.recipe,
            seed=arguments.seed + number,
            device=torch.device("cpu"),
            checkpoint=arguments.out / f"{name}-{number}.pt",
            on_epoch=lambda epoch, loss: print(f"{name} {epoch} {loss:.4f}", flush=True),
        )
    supernet.eval()
    return time.perf_counter() - begin


def accuracy_alone(path: Path) -> dict[str, tuple[dict[str, int], float]]:
    """Return choices and mean accuracy over seeds by architecture."""
    rows = json.loads(path.read_text())
    ids = dict.fromkeys(row["id"] for row in rows)
    return {
        id_: (
            next(row["choices"] for row in rows if row["id"] == id_),
            float(np.mean([row["accuracy"] for row in rows if row["id"] == id_])),
        )
        for id_ in ids
    }


def accuracy(supernet: Supernet, splits: Splits, choices: dict[str, int], images: int) -> float:
    """Return the accuracy of a recalibrated subnet on the search split."""
    module = supernet.extract(supernet.space.architecture(choices))
    recalibrate(module, splits.train.sample(images).split(256))
    bench = Bench(splits.search, thorough=False, calibration={})
    return (
        MeasuredQuality(Accuracy()).measure([SubnetCandidate(module.eval(), splits.inputs)], bench)[0].value
    )


if __name__ == "__main__":
    main()
