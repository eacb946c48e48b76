"""What pre-training without labels is worth where few items have labels: SimCLR on images, masked language on texts.

    python -m benchmarks.few_labels digits --out runs/few_labels
    python -m benchmarks.few_labels fashion --data $NAS_DATA --out runs/few_labels
    python -m benchmarks.few_labels sst2 --data $NAS_DATA --out runs/few_labels

Three supernets of each seed: one that is trained on the labels alone; one that is pre-trained before, and then trained
by as many steps; and one that is trained on the labels alone by as many steps as the second took in all. All augment
alike, on images. What is printed is the accuracy on the test split of the largest
subnet, and the mean of random ones; ``--search`` prints that of the search split, for choosing settings. A seed is of
the choice of labels, the weights and the order of batches. Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nas import Accuracy, Contrastive, Macs, MaskedLanguage, Recipe, SandwichRule, Study, SurrogateSearch
from nas.choices import Size, choice
from nas.data import Digits, FewLabels, RandomViews, TextTable, TorchvisionData
from nas.inputs import call_network
from nas.progress import Pretraining
from nas.runner.directory import RunDirectory
from nas.runner.preparation import prepare
from nas.runner.progress import Silent
from nas.runner.supernet_training import train_supernet
from nas.splits import DataSource, Split, Splits
from nas.supernet import elastic
from nas.supernet.attention_mask import AttentionMask
from nas.supernet.recalibrate import extract_recalibrated
from nas.training.batches import count_steps
from search_spaces.text_transformer import MaskedBlock, SentenceEncoder
from search_spaces.transformer import EncoderBlock
from surrogates.mixture import Mixture

CPU = torch.device("cpu")
ARMS = ("labels alone", "pre-trained", "labels alone, longer")
_RANDOM = 8
"""Random subnets whose mean is printed."""
_NETWORKS = 3
"""Per batch of the sandwich rule and of pre-training: the largest, the smallest and a random one."""


@dataclass(frozen=True)
class Normalised:
    """Images whose pixels are normalised once, so that views can be taken of them as they are held."""

    data: DataSource

    def load(self) -> Splits:
        """Return the splits, of floats."""
        splits = self.data.load()

        def normalise(split: Split) -> Split:
            return dataclasses.replace(split, inputs=split.batch(slice(None)), mean=(), std=())

        parts = {name: normalise(getattr(splits, name)) for name in ("train", "search", "test")}
        return dataclasses.replace(splits, **parts)


@dataclass(frozen=True)
class Case:
    """A data set, a network, and how both are trained."""

    data: DataSource
    labels: int
    network: Callable[[], nn.Module]
    recipe: Recipe
    pretraining: Pretraining

    def study(self, arm: str, seed: int, items: int) -> Study:
        """Return the study of an arm, given how many items there are to pre-train with."""
        recipe, pretraining = self.recipe, self.pretraining if arm == "pre-trained" else None
        if arm == "labels alone, longer":
            more = count_steps(items, self.pretraining.recipe) / (self.labels // recipe.batch_size)
            recipe = dataclasses.replace(recipe, epochs=recipe.epochs + round(more))
        return Study(
            name="few_labels",
            network=self.network,
            data=FewLabels(self.data, self.labels, seed),
            objectives=(Accuracy(), Macs()),
            recipe=recipe,
            strategy=SurrogateSearch(Mixture),
            training=SandwichRule(num_random=_NETWORKS - 2),
            pretraining=pretraining,
            seed=seed,
        )


def convolutions(side: int) -> nn.Module:
    """Return a network of three convolutions for grey images, small because this runs on a core."""
    layers: list[nn.Module] = []
    before: Size = 1
    for number, (widths, stride) in enumerate(
        [((8, 16), 1 if side < 16 else 2), ((16, 32), 2), ((32, 64), 2)]
    ):
        width = choice(f"{number}.width", *widths)
        kernel = choice(f"{number}.kernel", 3, 5) if number == 1 else 3
        layers += [
            elastic.Conv2d(before, width, kernel, stride=stride, padding="same", bias=False),
            elastic.BatchNorm2d(width),
            nn.ReLU(),
        ]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), elastic.Linear(before, 10))


def encoder(num_words: int, length: int) -> nn.Module:
    """Return a Transformer of at most two blocks."""
    width = choice("width", 16, 32)

    def block(position: int) -> nn.Module:
        inner = EncoderBlock(f"block{position}", width, heads=(1, 2), head_size=16, ratios=(1, 2, 3, 4))
        return MaskedBlock(inner, AttentionMask())

    return SentenceEncoder(
        num_words, length, classes=2, width=width, block=block, times=choice("depth", 1, 2)
    )


def digits(_: argparse.Namespace) -> Case:
    views = RandomViews(least_area=0.5, mirror=False, jitter=0.2)
    return Case(
        Digits(),
        100,
        partial(convolutions, side=8),
        Recipe(epochs=150, batch_size=50, learning_rate=1e-3, augment=views),
        Contrastive(Recipe(epochs=60, batch_size=256), views, temperature=0.2),
    )


def fashion(arguments: argparse.Namespace) -> Case:
    views = RandomViews(least_area=0.4)
    held = TorchvisionData("FashionMNIST", root=arguments.data, limit=3750, test_limit=2000)
    return Case(
        Normalised(held),
        100,
        partial(convolutions, side=28),
        Recipe(epochs=150, batch_size=50, learning_rate=1e-3, augment=views),
        Contrastive(Recipe(epochs=20, batch_size=250), views, temperature=0.2),
    )


def sst2(arguments: argparse.Namespace) -> Case:
    data = TextTable(
        "text/sst2/train.tsv",
        "text/sst2/test.tsv",
        root=arguments.data,
        name="SST-2",
        max_length=24,
        max_words=5000,
        min_count=3,
    )
    return Case(
        data,
        500,
        partial(encoder, num_words=5000, length=24),
        Recipe(epochs=12, batch_size=50, learning_rate=1e-3, weight_decay=0.1),
        MaskedLanguage(Recipe(epochs=8, batch_size=64, learning_rate=5e-3), num_random=0),
    )


CASES = {"digits": digits, "fashion": fashion, "sst2": sst2}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", type=Path, help="Folder of data sets.")
    parser.add_argument("--out", type=Path, default=Path("runs/few_labels"))
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--search", action="store_true", help="judge on the search split")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    case = CASES[arguments.case](arguments)
    items = len(case.data.load().train)
    print(f"{arguments.case}: {case.labels} of {items} items have labels", flush=True)
    found = {arm: [] for arm in arguments.arms}
    for seed in arguments.seeds:
        for arm in arguments.arms:
            out = arguments.out / arguments.case / f"{arm.replace(' ', '_').replace(',', '')}-{seed}"
            found[arm].append(train_and_judge(case.study(arm, seed, items), out, on_search=arguments.search))
            largest, mean, seconds = found[arm][-1]
            print(
                f"seed {seed}, {arm}: {largest:.4f}, random {mean:.4f}, {seconds:.0f} s of a core", flush=True
            )
    for arm, rows in found.items():
        both = " and ".join(format_spread([row[column] for row in rows]) for column in (0, 1))
        print(f"{arm:24s} largest and random: {both}")


def format_spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{100 * statistics.mean(values):.1f} ± {100 * deviation:.1f} %"


def train_and_judge(study: Study, out: Path, *, on_search: bool) -> tuple[float, float, float]:
    """Return the accuracy of the largest subnet and the mean of random ones, and the seconds of the training."""
    prepared, begin = prepare(study, CPU), time.process_time()
    train_supernet(prepared, RunDirectory(out), Silent())
    seconds = time.process_time() - begin
    splits, space = prepared.splits, prepared.supernet.space
    rng = np.random.default_rng(0)
    architectures = [space.largest(), *(space.sample(rng) for _ in range(_RANDOM))]
    modules = [extract_recalibrated(prepared.supernet, one, splits.train) for one in architectures]
    judged = splits.search if on_search else splits.test
    largest, *others = (accuracy(module, judged) for module in modules)
    return largest, statistics.mean(others), seconds


@torch.no_grad()
def accuracy(network: nn.Module, split: Split) -> float:
    outputs = torch.cat([call_network(network, inputs) for inputs in split.batches(500)])
    return (outputs.argmax(1) == split.targets).double().mean().item()


if __name__ == "__main__":
    main()
