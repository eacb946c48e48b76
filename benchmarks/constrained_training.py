"""What a supernet gains by training only architectures that meet the constraints.

    python -m benchmarks.constrained_training --data $NAS_DATA

A single path on 6,000 images of Fashion-MNIST, with a limit on the MACs that a given share of the space meets. The same
epochs with random architectures of the whole space and with those that meet the limit; then the same subnets that meet
it, drawn afresh, are judged with both supernets' weights on the search split.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.fashion import FashionSubset, fashion_network
from nas import Accuracy, Macs, Recipe, SinglePath, Study, SurrogateSearch, Winners
from nas.evaluation import SubnetCandidate
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objectives import Bench, Constraint
from nas.runner.preparation import Prepared, prepare
from nas.runner.problem import feasible_architecture
from nas.space import Architecture, FloatArray
from nas.supernet.recalibrate import extract_recalibrated
from nas.training import train
from surrogates.mixture import Mixture

_CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.2, help="Of the space that meets the limit.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--architectures", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = FashionSubset(arguments.data)
    limit = most_macs(data, arguments.share)
    print(f"at most {limit:,.0f} MACs, met by {arguments.share:.0%} of the space; {arguments.epochs} epochs")
    print("seed | trained | CPU s | accuracy of random subnets within the limit, mean (lowest to highest)")
    for seed in range(arguments.seeds):
        for name in ("all", "within the limit"):
            prepared = prepare(study(data, seed, arguments.epochs, limit), _CPU)
            rng = np.random.default_rng(seed)
            judged = [feasible_architecture(prepared.problem, rng) for _ in range(arguments.architectures)]
            if name == "all":
                prepared.supernet.draw = prepared.supernet.space.sample
            seconds = train_supernet(prepared)
            found = accuracies(prepared, judged)
            told = f"{found.mean():.4f} ({found.min():.4f} to {found.max():.4f})"
            print(f"{seed} | {name} | {seconds:.0f} | {told}", flush=True)


def study(data: FashionSubset, seed: int, epochs: int, limit: float | None) -> Study:
    recipe = Recipe(epochs=epochs, batch_size=128)
    return Study(
        name="constrained_training",
        network=fashion_network,
        data=data,
        objectives=(Accuracy(), Macs()),
        constraints=() if limit is None else (Constraint(Macs(), limit),),
        recipe=recipe,
        training=SinglePath(),
        strategy=SurrogateSearch(Mixture),
        evaluations=1,
        winners=Winners(count=1, recipe=recipe),
        seed=seed,
    )


def most_macs(data: FashionSubset, share: float) -> float:
    """Return the MACs that this share of random architectures doesn't exceed."""
    prepared = prepare(study(data, 0, 1, None), _CPU)
    rows = prepared.problem.space.sample_indices(4000, np.random.default_rng(0))
    return float(np.quantile(prepared.counter.counts(rows).macs, share))


def train_supernet(prepared: Prepared) -> float:
    """Train the supernet in place and return seconds of a core."""
    begin = time.process_time()
    (phase,) = SinglePath().phases(prepared.supernet, prepared.study.recipe, prepared.splits.task)
    seed = prepared.study.seed
    train(prepared.supernet, phase.step(), prepared.splits.train, phase.recipe, seed=seed, device=_CPU)
    return time.process_time() - begin


def accuracies(prepared: Prepared, architectures: list[Architecture]) -> FloatArray:
    """Return each one's accuracy on the search split, with the supernet's weights."""
    splits = prepared.splits
    bench = Bench(splits.search, thorough=True, calibration={})
    candidates = [
        SubnetCandidate(extract_recalibrated(prepared.supernet, a, splits.train), splits.inputs)
        for a in architectures
    ]
    return np.array([measured.value for measured in MeasuredQuality(Accuracy()).measure(candidates, bench)])


if __name__ == "__main__":
    main()
