"""Dynamic capacity networks on digits in clutter, beside controls that could refute them: accuracy, multiplications.

    python -m benchmarks.dynamic_capacity

A coarse network sees a whole canvas, and a fine one the k positions at which the gradient of the entropy is largest.
Controls are the coarse network alone, the fine one at every position, k positions at random, and the k whose pixels
vary most, which no network need learn. Every network is trained from the same first weights with its way to choose in
place; each seed has data of its own. The search split chooses nothing here, so it judges together with the test split.

The claim is read off at the end: how many multiplications fewer than with the fine network everywhere, at an accuracy
that is no lower than that by more than half a point, averaged over the seeds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas import Recipe, Supernet
from nas.data import ClutteredDigits
from nas.evaluation.counts import count_macs
from nas.splits import Splits
from nas.tasks import Classification
from nas.training import make_supervised_step, train
from search_spaces.dynamic_capacity import DynamicCapacity, Refinement, dynamic_capacity

CPU = torch.device("cpu")
EVERYWHERE = 16
COUNTS = (1, 2, 4)
PIXELS = 144
"""Of a patch."""
AS_GOOD = 0.5
"""Points of accuracy; an image of the 1,600 that judge is 0.06."""


class RandomPositions(nn.Module):
    """Calls positions salient at random: the fractional part of a large number that a cell's pixels decide."""

    mixing: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("mixing", 1e5 * torch.rand(32, 32, generator=generator))

    def forward(self, _features: Tensor, images: Tensor, _head: nn.Module) -> Tensor:
        """As the saliency by the entropy."""
        mixed = F.avg_pool2d(images * self.mixing, 8).flatten(1)
        return mixed - mixed.floor()


class Contrast(nn.Module):
    """Calls positions salient whose cells' pixels vary most."""

    def forward(self, _features: Tensor, images: Tensor, _head: nn.Module) -> Tensor:
        """As the saliency by the entropy."""
        return (F.avg_pool2d(images.square(), 8) - F.avg_pool2d(images, 8).square()).flatten(1)


CHOOSERS: dict[str, Callable[[], nn.Module] | None] = {
    "entropy": None,
    "contrast": Contrast,
    "random": RandomPositions,
}


@dataclass(frozen=True)
class Result:
    """A trained network: accuracy in percent, multiply-accumulates of an image."""

    accuracy: float
    macs: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[Result]] = {}
    for seed in arguments.seeds:
        splits = ClutteredDigits(seed=seed).load()
        for name, count, make in networks():
            begin = time.process_time()
            result = train_network(splits, count, make, seed, arguments.epochs)
            rows.setdefault(name, []).append(result)
            seconds = time.process_time() - begin
            print(
                f"seed {seed}: {name}: {result.accuracy:.2f} %, {result.macs:,} MACs, {seconds:.0f} s",
                flush=True,
            )
    print(
        f"\nseeds {arguments.seeds}, {arguments.epochs} epochs: accuracy in percent, mean ± standard deviation"
    )
    whole = rows["fine everywhere"]
    for name, results in rows.items():
        macs = results[0].macs
        better = sum(one.accuracy > other.accuracy for one, other in zip(results, whole, strict=True))
        print(
            f"{name:16s} {spread(results)}  {macs:9,} MACs  {macs / whole[0].macs - 1:+.1%}  above it: {better}"
        )
    print()
    for count in COUNTS:
        print(f"k = {count}: entropy minus {differences(rows, count)}")
    print(verdict(rows))


def networks() -> list[tuple[str, int, Callable[[], nn.Module] | None]]:
    """Return what to train: a name, a number of positions, and what makes another way to choose them."""
    chosen = [(f"{name}, k = {count}", count, make) for count in COUNTS for name, make in CHOOSERS.items()]
    return [("fine everywhere", EVERYWHERE, None), ("coarse alone", 0, None), *chosen]


def train_network(
    splits: Splits, count: int, make: Callable[[], nn.Module] | None, seed: int, epochs: int
) -> Result:
    """Train the largest network with so many refined positions."""
    left_out = (
        0.0 if count == EVERYWHERE else 0.25
    )  # nothing is chosen there, so its coarse features need no training
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        supernet = Supernet(dynamic_capacity(10, patches=(0, *COUNTS, EVERYWHERE), left_out=left_out))
    sizes = {**supernet.space.largest(), "patches": count}
    network = supernet.extract(supernet.space.architecture(sizes))
    assert isinstance(network, DynamicCapacity)
    if make is not None:
        network.refine.saliency = make()
    recipe = Recipe(epochs, batch_size=32, learning_rate=5e-3)
    step = make_supervised_step(network, Classification(10), recipe)
    train(network, step, splits.train, recipe, seed=seed, device=CPU)
    return Result(accuracy(network.eval(), splits), multiplications(network, splits))


def multiplications(network: DynamicCapacity, splits: Splits) -> int:
    """Return the multiply-accumulates of an image; where everything is refined, no coarse network is needed."""
    if not isinstance(network.refine, Refinement) or network.refine.patches < EVERYWHERE:
        return count_macs(network, splits.inputs)
    return EVERYWHERE * count_macs(network.refine.fine, (PIXELS,)) + network.head.weight.numel()


@torch.no_grad()
def accuracy(network: nn.Module, splits: Splits) -> float:
    right = [
        network(part.batch(slice(None))).argmax(1) == part.targets for part in (splits.search, splits.test)
    ]
    return 100 * torch.cat(right).double().mean().item()


def spread(results: list[Result]) -> str:
    """Return the mean accuracy and its standard deviation over seeds."""
    accuracies = [result.accuracy for result in results]
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else float("nan")
    return f"{statistics.mean(accuracies):6.2f} ± {deviation:.2f}"


def differences(rows: dict[str, list[Result]], count: int) -> str:
    """Return by how much the entropy's choice is better than each other one, seed by seed."""
    told = []
    for name in ("random", "contrast"):
        pairs = zip(rows[f"entropy, k = {count}"], rows[f"{name}, k = {count}"], strict=True)
        gaps = [ours.accuracy - other.accuracy for ours, other in pairs]
        deviation = statistics.stdev(gaps) if len(gaps) > 1 else float("nan")
        above = sum(gap > 0 for gap in gaps)
        told.append(f"{name}: {statistics.mean(gaps):+.2f} ± {deviation:.2f}, {above} of {len(gaps)} seeds")
    return "; ".join(told)


def verdict(rows: dict[str, list[Result]]) -> str:
    """Return the fewest multiplications at which each way to choose is as good as the fine network everywhere."""
    means = {name: statistics.mean(result.accuracy for result in results) for name, results in rows.items()}
    wanted, full = means["fine everywhere"] - AS_GOOD, rows["fine everywhere"][0].macs
    told = []
    for chooser in CHOOSERS:
        good = [rows[name][0].macs for name in rows if name.startswith(chooser) and means[name] >= wanted]
        told.append(f"{chooser}: {min(good) / full - 1:+.1%}" if good else f"{chooser}: at no k")
    return f"as good as the fine network everywhere ({wanted:.2f} % or more): {'; '.join(told)}"


if __name__ == "__main__":
    main()
