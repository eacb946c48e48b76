"""Train splits pruned by the H-score, beside random ones of the same size and class shares, at equal steps.

    python -m benchmarks.dataset_pruning --data $NAS_DATA

``transfer``, the paper's setting: a perceptron that learned five classes of Fashion-MNIST is fine-tuned on the other
five, on all of their images, on the pruned ones, and on as many random ones, for as many steps as one, three and ten
epochs of all take. Test accuracy of the five. Five classes are easy to tell apart, and five are hard: short trainings
learn most of the easy ones' images, as they do in the paper, and too few of the hard ones'.

``proxy``, data for a search: architectures of a space of residual perceptrons are trained from scratch on the same
subsets for few steps, and ranked by accuracy on the search split; Kendall's tau with their ranking after three times as
many steps on all data. Items are scored with the largest architecture.

Both with the paper's removal of the scores 0 and 6; transfer also with that of 6 alone. Each seed has its own images,
weights and draws; scores are kept in the folder that NAS_CACHE names.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn

from nas import Supernet
from nas.agreement import kendall_tau
from nas.data import TorchvisionData
from nas.data.loading import load_splits
from nas.evaluation import Accuracy, HScoreSubset, RandomSubset, SubnetCandidate
from nas.evaluation.from_scratch import fresh_network, train_from_scratch
from nas.evaluation.quality.measuring import collect_statistics
from nas.space import Architecture
from nas.splits import DataSource, Split, Splits
from nas.tasks import Classification
from nas.training import Recipe, make_supervised_step, train
from search_spaces.mlp import mlp

CPU = torch.device("cpu")
CLASSES = {"easy": (1, 5, 7, 8, 9), "hard": (0, 2, 3, 4, 6)}
"""Trousers, sandal, sneaker, bag and boot; T-shirt, pullover, dress, coat and shirt."""
BATCH, EPOCHS, EXACT = 64, 3, 3
"""Epochs of a candidate's short training on all data; the exact one takes so many times its steps."""
PAPER = {"scores 0 and 6": (0, 6)}
REMOVE = {**PAPER, "score 6": (6,)}
PRETRAINING = Recipe(epochs=8, batch_size=BATCH)
FINE_TUNING = Recipe(epochs=3, batch_size=BATCH, learning_rate=1e-3)
NETWORK = partial(mlp, classes=10, features=28 * 28, scale=0.5)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--classes", nargs="+", choices=CLASSES, default=tuple(CLASSES))
    parser.add_argument("--architectures", type=int, default=14)
    parser.add_argument("--parts", nargs="+", choices=("transfer", "proxy"), default=("transfer", "proxy"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if "transfer" in arguments.parts:
        for kind in arguments.classes:
            found = [transfer(arguments.data, kind, seed) for seed in range(arguments.seeds)]
            print(f"{kind} classes, fine-tuned on | steps of | kept | accuracy | minus random, 95 % interval")
            report(found, 100.0)
    if "proxy" in arguments.parts:
        print("candidates trained on | ranked against | kept | tau | minus random, 95 % interval")
        report([proxy(arguments.data, seed, arguments.architectures) for seed in range(arguments.seeds)], 1.0)


Found = dict[tuple[str, str], tuple[float, float]]
"""By what was trained on, and how it was judged: the share of the items that was kept, and a value."""


def report(found: Sequence[Found], unit: float) -> None:
    for name, how in found[0]:
        kept, values = np.array([one[name, how] for one in found]).T
        line = f"{name} | {how} | {kept.mean():.1%} | {unit * values.mean():.2f} ± {unit * values.std(ddof=1):.2f}"
        if name.startswith("without"):
            gains = unit * (values - np.array([one[f"random for {name}", how][1] for one in found]))
            half = stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
            line += f" | {gains.mean():+.2f} ({gains.mean() - half:+.2f} to {gains.mean() + half:+.2f})"
        print(line, flush=True)


@dataclass(frozen=True)
class SomeClasses:
    """Some classes of a data source, numbered anew."""

    source: DataSource
    classes: tuple[int, ...]

    def load(self) -> Splits:
        """Return the splits."""
        splits = load_splits(self.source)
        parts = {name: self._choose_classes(getattr(splits, name)) for name in ("train", "search", "test")}
        return replace(
            splits,
            **parts,
            task=Classification(len(self.classes)),
            fingerprint=f"{splits.fingerprint} {self.classes}",
        )

    def _choose_classes(self, split: Split) -> Split:
        part = split.subset(torch.isin(split.targets, torch.tensor(self.classes)).nonzero()[:, 0])
        return replace(part, targets=torch.searchsorted(torch.tensor(self.classes), part.targets))


def sources(
    whole: DataSource, network: Any, recipe: Recipe, seed: int, removed: Mapping[str, tuple[int, ...]]
) -> dict[str, DataSource]:
    """Return all data, what pruning leaves of them, and as many random items."""
    found: dict[str, DataSource] = {"all": whole}
    for name, remove in removed.items():
        pruned = HScoreSubset(whole, network, recipe, remove=remove, seed=100 * seed)
        found |= {f"without {name}": pruned, f"random for without {name}": RandomSubset(pruned, seed)}
    return found


def transfer(root: Path, kind: str, seed: int) -> Found:
    """Return the test accuracies of a pre-trained network that is fine-tuned on each of the subsets."""
    source = TorchvisionData("FashionMNIST", root=root, limit=6_250, seed=seed)
    first, then = (
        SomeClasses(source, CLASSES[name]) for name in sorted(CLASSES, key=lambda name: name == kind)
    )
    learned = perceptron(seed)
    fit(learned, first.load(), PRETRAINING, seed)
    weights = {name: value for name, value in learned.state_dict().items() if not name.startswith("4.")}

    def pretrain() -> nn.Module:
        made = perceptron(None)
        made.load_state_dict(weights, strict=False)  # the last layer is drawn anew
        return made

    found: Found = {}
    count = len(then.load().train)
    for name, subset in sources(then, pretrain, FINE_TUNING, seed, REMOVE).items():
        splits = load_splits(subset)
        for epochs in (1, 3, 10):
            torch.manual_seed(seed)
            module = pretrain()
            fit(
                module,
                splits,
                replace(FINE_TUNING, epochs=equal_epochs(epochs, count, len(splits.train))),
                seed,
            )
            found[name, f"{epochs} epochs of all"] = (
                len(splits.train) / count,
                accuracy(module, splits, splits.test),
            )
    print(f"seed {seed}, {kind}: {tell(found)}", flush=True)
    return found


def perceptron(seed: int | None) -> nn.Module:
    """Return two hidden layers and five outputs; without a seed from torch's global generator."""
    if seed is not None:
        torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(784, 128), nn.ReLU()),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 5),
    )


def proxy(root: Path, seed: int, count: int) -> Found:
    """Return how well architectures that are trained on each of the subsets are ranked."""
    whole = TorchvisionData(
        "FashionMNIST", root=root, limit=4_000, test_limit=100, search_share=0.5, seed=seed
    )
    space = fresh_network(NETWORK, 0).space
    rng = np.random.default_rng(seed)
    candidates = [space.sample(rng) for _ in range(count)]
    splits = load_splits(whole)
    items = len(splits.train)
    exact = qualities(candidates, splits, EXACT * EPOCHS, 1_000 + seed)
    again = qualities(candidates, splits, EPOCHS, 2_000 + seed)
    found: Found = {}
    scored = sources(whole, lambda: Supernet(NETWORK()), Recipe(EPOCHS, BATCH), seed, PAPER)
    for name, subset in scored.items():
        pruned = load_splits(subset)
        kept = len(pruned.train) / items
        reached = qualities(candidates, pruned, equal_epochs(EPOCHS, items, len(pruned.train)), seed)
        found[name, "three times the steps on all"] = kept, kendall_tau(reached, exact)
        found[name, "as many steps on all"] = kept, kendall_tau(reached, again)
        print(f"seed {seed}, {name}: {found[name, 'three times the steps on all'][1]:.2f}", flush=True)
    return found


def qualities(candidates: Sequence[Architecture], splits: Splits, epochs: int, seed: int) -> Any:
    """Return each candidate's accuracy on the search split after a training of its own."""
    recipe, found = Recipe(epochs, BATCH), []
    for candidate in candidates:
        module = train_from_scratch(
            NETWORK, candidate, splits.train, splits.task, recipe, seed=seed, device=CPU
        )
        found.append(accuracy(module, splits, splits.search))
    return np.array(found)


def equal_epochs(epochs: int, whole: int, items: int) -> int:
    """Return the epochs of a subset that take the steps of so many epochs of the whole, as nearly as possible."""
    return max(1, round(epochs * math.ceil(whole / BATCH) / math.ceil(items / BATCH)))


def fit(module: nn.Module, splits: Splits, recipe: Recipe, seed: int) -> None:
    step = make_supervised_step(module, splits.task, recipe)
    train(module, step, splits.train, recipe, seed=seed, device=CPU)


def accuracy(module: nn.Module, splits: Splits, split: Split) -> float:
    quality = Accuracy()
    return quality.value(collect_statistics(quality, SubnetCandidate(module, splits.inputs), split))


def tell(found: Mapping[tuple[str, str], tuple[float, float]]) -> str:
    return "; ".join(f"{name}, {how}: {kept:.1%} {value:.4f}" for (name, how), (kept, value) in found.items())


if __name__ == "__main__":
    main()
