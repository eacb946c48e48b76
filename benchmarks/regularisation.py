"""Mixup, CutMix and stochastic depth: with and without, on few images of Fashion-MNIST.

    python -m benchmarks.regularisation --data $NAS_DATA

A residual network is trained alone for equally many steps, with nothing and with each recipe, at its paper's setting.
The control of stochastic depth is the network that is shallower by as many blocks as are left out on
average, trained whole: about as much computation. Seeds draw the images, the weights and the batches. Then a supernet
of the same space, by the sandwich rule: the test accuracy of its ends and of random subnets, with and without
stochastic depth. The convolutional network sees images of 14 by 14 pixels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn

from benchmarks.scaled_images import ScaledImages
from nas.data import TorchvisionData
from nas.data.loading import load_splits
from nas.evaluation import Accuracy, SubnetCandidate
from nas.evaluation.from_scratch import fresh_network, train_from_scratch
from nas.evaluation.quality.measuring import collect_statistics
from nas.space import Architecture, FloatArray
from nas.splits import Splits
from nas.supernet.recalibrate import extract_recalibrated
from nas.supernet.sandwich import sandwich_step
from nas.training import CutMix, Mixup, Recipe, train
from search_spaces.convnet import convnet
from search_spaces.mlp import mlp

CPU = torch.device("cpu")
IMAGES, TEST_IMAGES = 1_000, 2_000
"""Of which four fifths train; few, because that is where a network needs to be regularised."""
RECIPES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "mixup, alpha 0.2": {"mix": Mixup()},
    "CutMix, alpha 1": {"mix": CutMix()},
    "stochastic depth 0.5": {"stochastic_depth": 0.5},
}
SHALLOW = "shallower, nothing"


@dataclass(frozen=True)
class Setting:
    """What is trained: a space, its blocks, and for how long.

    Args:
        network: Makes it.
        factor: What the images' sides are multiplied by.
        depth: Blocks of a row that may be left out; all rows alike.
        shallow: How many of them the control has.
        epochs: Epochs of each training.
    """

    network: Callable[[], nn.Module]
    factor: float
    depth: int
    shallow: int
    epochs: int

    def architecture(self, depth: int) -> Architecture:
        """Return the widest network with so many blocks in each row, and kernels of 3."""
        space = fresh_network(self.network, 0).space
        changed = {n: 3 if "kernel" in n else depth for n in space.largest() if "depth" in n or "kernel" in n}
        return space.architecture({**space.largest(), **changed})

    def recipe(self, name: str) -> Recipe:
        """Return the recipe of a name."""
        return Recipe(self.epochs, **RECIPES[name])

    def load(self, root: Path, seed: int) -> Splits:
        """Return the splits of a seed's images."""
        whole = TorchvisionData("FashionMNIST", root=root, limit=IMAGES, test_limit=TEST_IMAGES, seed=seed)
        return load_splits(ScaledImages(whole, self.factor))


SETTINGS = {
    "mlp": Setting(partial(mlp, classes=10, features=28 * 28, scale=0.5), 1.0, 4, 3, 30),
    "convnet": Setting(partial(convnet, classes=10, channels=1, resolution=14, scale=0.5), 0.5, 2, 1, 12),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", choices=SETTINGS, default="mlp")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--supernets", type=int, default=5, help="How many of the seeds train supernets too.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    setting = SETTINGS[arguments.network]
    alone: dict[str, list[tuple[float, float]]] = {}
    for seed in range(arguments.seeds):
        for name, accuracy, seconds in train_alone(setting, setting.load(arguments.data, seed), seed):
            alone.setdefault(name, []).append((accuracy, seconds))
            print(f"seed {seed} | {name} | {accuracy:.4f} | {seconds:.1f} s", flush=True)
    print("trained alone | accuracy, mean and deviation | minus nothing, 95 % interval | CPU s")
    for name, found in alone.items():
        accuracies, seconds_of = np.array(found).T
        print(
            f"{name} | {format_difference(accuracies, np.array(alone['nothing'])[:, 0])} | {seconds_of.mean():.1f}"
        )
    judged = [
        subnets(setting, setting.load(arguments.data, seed), seed) for seed in range(arguments.supernets)
    ]
    print("supernet | subnets | accuracy, mean and deviation | minus nothing, 95 % interval")
    for kind in ("smallest", "random", "largest"):
        for name in judged[0] if judged else ():
            values, base = (np.array([found[key][kind] for found in judged]) for key in (name, "nothing"))
            print(f"{name} | {kind} | {format_difference(values, base)}")


def format_difference(values: FloatArray, base: FloatArray) -> str:
    """Return mean and deviation in percent, and the paired difference in points with its t interval."""
    gains = 100 * (values - base)
    half = stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains) if len(gains) > 1 else np.nan
    return (
        f"{100 * values.mean():.2f} ± {100 * values.std(ddof=1):.2f} | {gains.mean():+.2f} "
        f"({gains.mean() - half:+.2f} to {gains.mean() + half:+.2f})"
    )


def train_alone(setting: Setting, splits: Splits, seed: int) -> Iterator[tuple[str, float, float]]:
    """Yield each recipe with the test accuracy after its training, and the training's seconds of a core."""
    trained = {**{name: (name, setting.depth) for name in RECIPES}, SHALLOW: ("nothing", setting.shallow)}
    for told_as, (name, depth) in trained.items():
        begin = time.process_time()
        module = train_from_scratch(
            setting.network,
            setting.architecture(depth),
            splits.train,
            splits.task,
            setting.recipe(name),
            seed=seed,
            device=CPU,
        )
        seconds = time.process_time() - begin
        yield told_as, accuracy_of(module, splits), seconds


def subnets(setting: Setting, splits: Splits, seed: int) -> dict[str, dict[str, float]]:
    """Return the mean accuracy of a supernet's subnets by recipe and by which of them."""
    found = {}
    for name in ("nothing", "stochastic depth 0.5"):
        supernet, recipe = fresh_network(setting.network, seed), setting.recipe(name)
        step = sandwich_step(supernet, splits.task, recipe)
        train(supernet, step, splits.train, recipe, seed=seed, device=CPU)
        space, rng = supernet.space, np.random.default_rng(seed)
        kinds: dict[str, Sequence[Architecture]] = {
            "smallest": [space.smallest()],
            "random": [space.sample(rng) for _ in range(12)],
            "largest": [space.largest()],
        }
        found[name] = {
            kind: float(
                np.mean([accuracy_of(extract_recalibrated(supernet, a, splits.train), splits) for a in some])
            )
            for kind, some in kinds.items()
        }
        print(f"seed {seed} | supernet, {name} | {found[name]}", flush=True)
    return found


def accuracy_of(module: nn.Module, splits: Splits) -> float:
    quality = Accuracy()
    return quality.value(collect_statistics(quality, SubnetCandidate(module, splits.inputs), splits.test))


if __name__ == "__main__":
    main()
