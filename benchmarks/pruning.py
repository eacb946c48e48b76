"""Structured pruning of torchvision's resnet18 at half its multiplications, on images of CIFAR-10's size.

    python -m benchmarks.pruning --data $NAS_DATA --out runs/pruning

Beside each other, after the same fine-tuning: ours; Torch-Pruning as its README documents it; and a network of the
same size that is trained from scratch for as many epochs as the others took together. Each prunes to the share of
channels at which the network has half of its MACs. ``--settings`` names other settings of ours. The defaults fit into
forty minutes of a core that others use too, and leave the networks far from their best: differences below the spread
say nothing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch_pruning
from torch import nn
from torchvision.models import resnet18
from torchvision.transforms import v2

from benchmarks.cifar10_jpeg import Cifar10Jpeg
from nas import Recipe
from nas.compression.fine_tune import FineTune
from nas.compression.pipeline import Lab, Model
from nas.compression.prune import Prune
from nas.evaluation.counts import count_macs
from nas.inputs import InputSpec
from nas.splits import Split
from nas.supernet.copying import copy_module
from nas.supernet.recalibrate import recalibrate_on
from nas.tasks import Classification
from nas.training import make_supervised_step, train

CPU = torch.device("cpu")
IMAGES = InputSpec.of_one((3, 32, 32))
CLASSES = Classification(10)
MEAN, STD = (0.4913, 0.4821, 0.4465), (0.2452, 0.2428, 0.2606)
OURS = ("magnitude-uniform", "hessian-uniform", "taylor-global")
TRIES = 5
"""Shares to try: widths are multiples of 8, so that more would find nothing nearer."""
AUGMENT = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Folder that holds cifar10_jpeg.")
    parser.add_argument("--out", type=Path, default=Path("runs/pruning"), help="Keeps the trained networks.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=2000, help="To train with.")
    parser.add_argument("--test-images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=6, help="Before pruning.")
    parser.add_argument("--fine-tune", type=int, default=2, help="Epochs after pruning.")
    parser.add_argument(
        "--settings", nargs="+", default=OURS, help="Of ours: a saliency, '-', a distribution."
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begin, rows = time.perf_counter(), dict[str, list[float]]()
    print(
        f"{arguments.images} images, {arguments.epochs} epochs, then {arguments.fine_tune}, one thread",
        flush=True,
    )
    for seed in arguments.seeds:
        for name, value in results_of(seed, arguments).items():
            rows.setdefault(name, []).append(value)
            print(f"seed {seed}: {name}: {value:.4f} after {time.perf_counter() - begin:.0f} s", flush=True)
    print(f"\naccuracy on {arguments.test_images} test images, mean and standard deviation over seeds")
    for name, values in rows.items():
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        print(f"{name:28s} {statistics.mean(values):.4f} ± {spread:.4f}   {[round(v, 4) for v in values]}")


def results_of(seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    train_split = load_split(arguments.data, "train", arguments.images, seed)
    test = load_split(arguments.data, "test", arguments.test_images, 0)
    whole = train_whole(seed, train_split, arguments)
    found = {"whole": accuracy(whole, test)}
    makers: dict[str, Callable[[float], nn.Module]] = {
        f"ours, {setting}": lambda share, setting=setting: ours(whole, setting, share, train_split, seed)
        for setting in arguments.settings
    }
    makers["Torch-Pruning"] = lambda share: torch_prunings(whole, share)
    for name, make in makers.items():
        pruned, seconds = at_half_the_macs(whole, make)
        tuned = fine_tune(pruned, arguments.fine_tune, train_split, seed)
        share = macs(pruned) / macs(whole)
        print(f"  {name}: {share:.3f} of the MACs, pruned in {seconds:.1f} s", flush=True)
        found[name] = accuracy(tuned, test)
    same_size, _ = at_half_the_macs(
        whole, lambda share: ours(whole, "magnitude-uniform", share, train_split, seed)
    )
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        for module in same_size.modules():
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
                module.reset_parameters()
    epochs = arguments.epochs + arguments.fine_tune
    found["same size from scratch"] = accuracy(
        fine_tune(same_size, epochs, train_split, seed, rate=5e-3), test
    )
    return found


def load_split(root: Path, part: str, count: int, seed: int) -> Split:
    """Return random images, as many of each class; files are sorted by class."""
    held, rng = Cifar10Jpeg(root, part), np.random.default_rng(seed)
    labels = np.asarray(held.targets)
    rows = np.concatenate(
        [rng.choice(np.flatnonzero(labels == c), count // 10, replace=False) for c in range(10)]
    )
    images = np.stack([np.asarray(held[row][0]) for row in rows]).transpose(0, 3, 1, 2)
    return Split(torch.from_numpy(images.copy()), torch.from_numpy(labels[rows]), MEAN, STD)


def recipe(epochs: int, rate: float) -> Recipe:
    return Recipe(epochs, batch_size=64, learning_rate=rate, augment=AUGMENT)


def train_whole(seed: int, split: Split, arguments: argparse.Namespace) -> nn.Module:
    """Return the whole network, trained; kept for a later call."""
    path = arguments.out / f"whole-{seed}-{arguments.images}-{arguments.epochs}.pt"
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = resnet18(num_classes=10)
    if path.exists():
        network.load_state_dict(torch.load(path, weights_only=True))
        return network.eval()
    plan = recipe(arguments.epochs, 5e-3)
    train(network, make_supervised_step(network, CLASSES, plan), split, plan, seed=seed, device=CPU)
    recalibrate_on(network, split, CPU)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
    return network


def lab(split: Split, seed: int, folder: str) -> Lab:
    return Lab(split, CLASSES, recipe(1, 2e-3), CPU, seed, Path(folder))


def ours(whole: nn.Module, setting: str, share: float, split: Split, seed: int) -> nn.Module:
    saliency, distribution = setting.split("-")
    made = Prune(keep=share, saliency=saliency, distribution=distribution, round_to=8)
    result = made.apply(Model(IMAGES, whole), {}, lab(split, seed, "")).module
    assert result is not None
    return result


def torch_prunings(whole: nn.Module, share: float) -> nn.Module:
    """Prune as https://github.com/VainF/Torch-Pruning shows it first."""
    network = copy_module(whole)
    torch_pruning.pruner.BasePruner(
        network,
        torch.randn(1, 3, 32, 32),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=1 - share,
        ignored_layers=[network.fc],
        round_to=8,
    ).step()
    return network


def at_half_the_macs(whole: nn.Module, make: Callable[[float], nn.Module]) -> tuple[nn.Module, float]:
    """Return the network nearest to half the MACs, of those that a share of channels gives, and seconds for one."""
    return nearest_to(macs(whole) / 2, whole, make)


def nearest_to(
    target: float, whole: nn.Module, make: Callable[[float], nn.Module]
) -> tuple[nn.Module, float]:
    """Return the network nearest to some MACs, of those that a share of channels gives, and seconds for one."""
    low, high, best = 0.4, 0.95, whole
    begin = time.perf_counter()
    for _ in range(TRIES):
        middle = (low + high) / 2
        network = make(middle)
        count = macs(network)
        best = network if abs(count - target) < abs(macs(best) - target) else best
        low, high = (low, middle) if count > target else (middle, high)
    return best, (time.perf_counter() - begin) / TRIES


def fine_tune(network: nn.Module, epochs: int, split: Split, seed: int, rate: float = 2e-3) -> nn.Module:
    with tempfile.TemporaryDirectory() as folder:
        tuned = FineTune(recipe(epochs, rate)).apply(Model(IMAGES, network), {}, lab(split, seed, folder))
    assert tuned.module is not None
    return tuned.module


def macs(network: nn.Module) -> int:
    return count_macs(network, IMAGES)


@torch.no_grad()
def accuracy(network: nn.Module, split: Split) -> float:
    right = [network(split.batch(slice(n, n + 256))).argmax(1) for n in range(0, len(split), 256)]
    return (torch.cat(right) == split.targets).double().mean().item()


if __name__ == "__main__":
    main()
