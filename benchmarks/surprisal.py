"""Surprisal-gated computation beside random gating at the same share, on rows of digits: accuracy, operations.

    python -m benchmarks.surprisal

A network reads an image row by row; a linear autoregressive model, fitted before, says how surprising each row is. The
most surprising share of the rows goes through large branches, the others through small ones. The control is random
rows at the same share. Every network is trained from the same first weights with its gate in place; each seed has a
split of its own, 60 % to train and 40 % to judge. Operations are counted on the exported network, over the images that
judge.

The paper's claim is read off at the end: how many operations fewer than with large branches alone, at an accuracy that
is no lower than that by more than a tenth of a point, averaged over the seeds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from nas import Recipe, Supernet
from nas.evaluation.expected import flops_by_item
from nas.evaluation.onnx_export import export_onnx
from nas.splits import Split
from nas.tasks import Classification
from nas.training import make_supervised_step, train
from search_spaces.surprisal_gated import SurprisalGate, SurprisalGated, surprisal_gated

CPU = torch.device("cpu")
SHARES = (25, 50, 75)
AS_GOOD = 0.1
"""Points of accuracy; an image of the 719 that judge is 0.14."""


class RandomRows(nn.Module):
    """Calls rows surprising at random: the fractional part of a large number that the pixels decide."""

    def __init__(self, gate: SurprisalGate) -> None:
        super().__init__()
        self.gate, self.columns = gate, gate.columns
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("mixing", 1000 * torch.rand(gate.rows, gate.columns, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        """As the gate."""
        mixed = (images.squeeze(1) * self.mixing).sum(2) + self.mixing.sum(1)
        return mixed - mixed.floor() < self.gate.large_percent / 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[tuple[float, float]]] = {}
    for seed in arguments.seeds:
        for name, result in results_of(seed, arguments.epochs).items():
            rows.setdefault(name, []).append(result)
            print(f"seed {seed}: {name}: {result[0]:.2f} % at {result[1]:,.0f} operations", flush=True)
    print(
        f"\nseeds {arguments.seeds}, {arguments.epochs} epochs; mean and standard deviation of the accuracy in percent"
    )
    everything = rows["all rows"]
    full = statistics.mean(flops for _, flops in everything)
    for name, results in rows.items():
        accuracies = [accuracy for accuracy, _ in results]
        flops = statistics.mean(flops for _, flops in results)
        spread = statistics.stdev(accuracies) if len(accuracies) > 1 else float("nan")
        print(
            f"{name:24s} {statistics.mean(accuracies):6.2f} ± {spread:.2f}  {flops:10,.0f}  {flops / full - 1:+.1%}"
        )
    print(f"\n{verdict(rows, full)}")


def verdict(rows: dict[str, list[tuple[float, float]]], full: float) -> str:
    """Return the fewest operations at which each gate is as good as large branches alone."""
    wanted = statistics.mean(accuracy for accuracy, _ in rows["all rows"]) - AS_GOOD
    said = []
    for gate in ("surprising", "random"):
        good = [
            statistics.mean(flops for _, flops in results)
            for name, results in rows.items()
            if name.startswith(gate) and statistics.mean(accuracy for accuracy, _ in results) >= wanted
        ]
        said.append(f"{gate} rows: {min(good) / full - 1:+.1%}" if good else f"{gate} rows: at no share")
    return f"as good as large branches alone ({wanted:.2f} % or more): {'; '.join(said)}"


def results_of(seed: int, epochs: int) -> dict[str, tuple[float, float]]:
    """Return accuracy in percent and operations per image, by gate and share."""
    learning, judging = splits(seed)
    whole = surprisal_gated(10)
    assert isinstance(whole, SurprisalGated)
    whole.gate.fit(learning.batch(slice(None)))
    found: dict[str, tuple[float, float]] = {}
    for percent in (100, 0, *SHARES):
        gates: Sequence[type[nn.Module] | None] = (None,) if percent in (0, 100) else (None, RandomRows)
        for made in gates:
            network = extract_network(whole, percent, seed)
            if made is not None:
                network.gate = made(network.gate)
            recipe = Recipe(epochs, learning_rate=5e-3)
            step = make_supervised_step(network, Classification(10), recipe)
            train(network, step, learning, recipe, seed=seed, device=CPU)
            kind = "surprising" if made is None else "random"
            name = {0: "no row", 100: "all rows"}.get(percent, f"{kind}, {percent} %")
            found[name] = accuracy(network, judging), operations(network, judging)
    return found


def splits(seed: int) -> tuple[Split, Split]:
    data = load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1)
    first, second = train_test_split(
        np.arange(len(images)), test_size=0.4, stratify=data.target, random_state=seed
    )
    images = (images - images[first].mean()) / images[first].std()
    labels = torch.from_numpy(data.target)
    return Split(images[first], labels[first]), Split(images[second], labels[second])


def extract_network(whole: nn.Module, percent: int, seed: int) -> nn.Module:
    """Return the network of a middle size with new weights, the same for each share, and the fitted gate."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        fresh = surprisal_gated(10)
    assert isinstance(fresh, SurprisalGated)
    assert isinstance(whole, SurprisalGated)
    fresh.gate.load_state_dict(whole.gate.state_dict())
    supernet = Supernet(fresh)
    sizes = {**supernet.space.largest(), "width": 32, "depth": 1, "large_percent": percent}
    return supernet.extract(supernet.space.architecture(sizes))


@torch.no_grad()
def accuracy(network: nn.Module, split: Split) -> float:
    right = network(split.batch(slice(None))).argmax(1) == split.targets
    return 100 * right.double().mean().item()


def operations(network: nn.Module, split: Split) -> float:
    return float(flops_by_item(export_onnx(network, (1, 8, 8)), split.batch(slice(None))).mean())


if __name__ == "__main__":
    main()
