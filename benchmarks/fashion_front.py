"""The finished front on a subset of Fashion-MNIST against two fronts that were trained from scratch.

    python -m benchmarks.fashion_front --data $NAS_DATA --out runs/fashion-front --plot docs/fashion_front.png

Runs a study (supernet, search, fine-tuned winners), then trains from scratch

- the same family scaled uniformly, every member for so many epochs that all of them together take as long as the
  whole run did (supernet, search, fine-tuning, checks), or for ten times the supernet's epochs where that is less;
- each winner, for as many epochs as the supernet was trained.

All are judged side by side: accuracy on the test split, MACs, and latency in turns on one core. Prints the
hypervolume of each front in one box, what the search saw of both fronts' networks in the supernet, and what it cost
against training every candidate from scratch. Seconds
of training are of a core, those of the search are by the clock: run it on an idle machine. Goes on where it was
stopped; what a killed attempt spent is then missing from the compute.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from torch import nn

from benchmarks.fashion import FashionSubset, fashion_network
from nas import Accuracy, LatencyMs, Macs, Recipe, Study, SurrogateSearch, Winners, load
from nas.evaluation import SubnetCandidate
from nas.evaluation.from_scratch import train_from_scratch
from nas.files import read_json, write_json
from nas.objectives import Bench
from nas.pareto import non_dominated
from nas.report.results import Results
from nas.runner import run
from nas.runner.baselines import uniform_family
from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared, prepare
from nas.runner.progress import Silent
from nas.runner.weights import SupernetWeights
from nas.search.record.reference_box import ReferenceBox
from nas.space import Architecture, FloatArray
from surrogates.mixture import Mixture

mpl.use("Agg")
import matplotlib.pyplot as plt

_CPU = torch.device("cpu")
_TRIED_EPOCHS = 5  # that tell what an epoch takes: the first one takes longer
_MOST_EPOCHS = 10  # times those of the supernet: more would only overfit


def fashion_study(root: Path, epochs: int, evaluations: int, winners: int) -> Study:
    """Return the study: 1.4e9 architectures, 6,000 images to train."""
    return Study(
        name="fashion_front",
        network=fashion_network,
        data=FashionSubset(root),
        objectives=(Accuracy(), Macs(), LatencyMs()),
        recipe=Recipe(epochs=epochs, batch_size=128),
        strategy=SurrogateSearch(Mixture),
        evaluations=evaluations,
        winners=Winners(winners, Recipe(epochs=max(epochs // 3, 1), batch_size=128, learning_rate=2e-3)),
    )


@dataclass(frozen=True)
class Networks:
    """Trained networks.

    Args:
        architectures: How many of these.
        modules: In the same order.
        seconds: That the training of each took.
        epochs: Epochs of each.
    """

    architectures: list[Architecture]
    modules: list[nn.Module]
    seconds: list[float]
    epochs: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=30, help="Of the supernet.")
    parser.add_argument("--evaluations", type=int, default=150)
    parser.add_argument("--winners", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs/fashion-front"))
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study = fashion_study(arguments.data, arguments.epochs, arguments.evaluations, arguments.winners)
    compare_fronts(study, arguments.out, arguments.plot)


def compare_fronts(study: Study, out: Path, picture: Path | None) -> None:
    """Run a study of a quality, MACs and latency, train both other fronts, and print and draw all three."""
    begin = time.process_time()
    results = run(study, out / "run", training_device=_CPU, progress=Silent())
    compute = keep_seconds(out / "run.json", time.process_time() - begin)
    prepared = prepare(study, _CPU)
    epochs = study.recipe.epochs
    found = [Architecture(winner.choices) for winner in results.winners]
    folder = out / "run" / "winners"
    modules = [load(folder / winner.id, network=study.network) for winner in results.winners]
    ours = Networks(found, modules, [compute], epochs)
    again = train_alone(prepared, found, epochs, out / "winners")
    scaled = scale_family(prepared, compute, epochs, out / "scaled")
    costs = measure_networks(prepared, {"ours": ours, "scaled": scaled, "again": again})
    shared = [judge_shared(prepared, out / "run", group.architectures) for group in (ours, scaled)]
    quality = prepared.problem.objectives[0].name.replace("_", " ")
    print_fronts(costs, compute, scaled, again, quality)
    print_shared(dict(zip(("ours", "scaled"), shared, strict=True)), costs, quality)
    print_search_cost(results, float(np.mean(again.seconds)))
    if picture is not None:
        plot(costs, picture, quality)


def keep_seconds(note: Path, seconds: float) -> float:
    """Return the seconds in a file, which is written with these if it isn't there."""
    if not note.exists():
        write_json(note, {"seconds": seconds})
    return float(read_json(note)["seconds"])


def train_alone(prepared: Prepared, chosen: list[Architecture], epochs: int, folder: Path) -> Networks:
    """Train architectures from scratch, each kept in a file."""
    folder.mkdir(parents=True, exist_ok=True)
    modules, seconds = [], []
    for architecture in chosen:
        begin = time.process_time()
        modules.append(
            train_from_scratch(
                prepared.study.network,
                architecture,
                prepared.splits.train,
                prepared.splits.task,
                replace(prepared.study.recipe, epochs=epochs),
                seed=prepared.study.seed,
                device=_CPU,
                checkpoint=folder / f"{architecture.id}-{epochs}.pt",
            ).eval()
        )
        note = folder / f"{architecture.id}-{epochs}.json"
        seconds.append(keep_seconds(note, time.process_time() - begin))
    return Networks(chosen, modules, seconds, epochs)


def scale_family(prepared: Prepared, compute: float, epochs: int, folder: Path) -> Networks:
    """Train the uniformly scaled family for ``compute`` seconds in all."""
    family = uniform_family(prepared.problem)
    note = folder / "epochs.json"
    if not note.exists():
        tried = train_alone(prepared, family, _TRIED_EPOCHS, folder)
        affordable = int(compute / sum(tried.seconds) * _TRIED_EPOCHS)
        write_json(note, {"epochs": max(1, min(affordable, _MOST_EPOCHS * epochs))})
    return train_alone(prepared, family, int(read_json(note)["epochs"]), folder)


def measure_networks(prepared: Prepared, groups: dict[str, Networks]) -> dict[str, FloatArray]:
    """Return by name ``(n, 3)`` error, MACs and latency; all latencies in turns."""
    shape = prepared.splits.inputs
    flat = [SubnetCandidate(module, shape) for group in groups.values() for module in group.modules]
    latency = LatencyMs()
    bench = Bench(prepared.splits.test, thorough=True, calibration=latency.calibrate())
    errors = [1 - m.value for m in prepared.measured[0].measure(flat, bench)]
    space = prepared.problem.space
    chosen = space.indices(a for group in groups.values() for a in group.architectures)
    macs = prepared.problem.count(chosen)["macs"]
    table = np.column_stack([errors, macs, [m.value for m in latency.measure(flat, bench)]])
    ends = np.cumsum([len(group.modules) for group in groups.values()])[:-1]
    return dict(zip(groups, np.split(table, ends), strict=True))


def print_fronts(
    costs: dict[str, FloatArray], compute: float, scaled: Networks, again: Networks, quality: str
) -> None:
    box = ReferenceBox.around(np.concatenate(list(costs.values())))
    volumes = {name: box.hypervolume(table) for name, table in costs.items()}
    told = {
        "ours": f"{len(costs['ours'])} fine-tuned winners; {compute:.0f} s, supernet and search included",
        "scaled": f"{len(costs['scaled'])} members x {scaled.epochs} epochs; {sum(scaled.seconds):.0f} s",
        "again": f"the winners from scratch x {again.epochs} epochs; {sum(again.seconds):.0f} s",
    }
    print("| front | hypervolume | what |\n|---|---|---|")
    for name, volume in volumes.items():
        print(f"| {name} | {volume:.4f} | {told[name]} |")
    for name in ("scaled", "again"):
        print(f"ours / {name} {volumes['ours'] / volumes[name]:.3f}")
    print(f"| front | test {quality} | MACs | latency |\n|---|---|---|---|")
    for name, table in costs.items():
        for error, macs, latency in table[np.argsort(table[:, 1])]:
            print(f"| {name} | {1 - error:.4f} | {macs:,.0f} | {latency:.4f} ms |")


def judge_shared(prepared: Prepared, run_folder: Path, architectures: list[Architecture]) -> list[float]:
    """Return the qualities of architectures with the supernet's weights, on the search split."""
    weights = SupernetWeights(prepared, RunDirectory(run_folder))
    weights.load()
    candidates = [prepared.candidate(weights.module(architecture)) for architecture in architectures]
    measured = prepared.measured[0]
    bench = Bench(prepared.splits.search, thorough=True, calibration=measured.calibrate())
    return [found.value for found in measured.measure(candidates, bench)]


def print_shared(shared: dict[str, list[float]], costs: dict[str, FloatArray], quality: str) -> None:
    """Print what the search saw of each network beside what it reached."""
    print(
        f"| front | MACs | {quality} in the supernet, search split | finished, test split |\n|---|---|---|---|"
    )
    for name, values in shared.items():
        for row in np.argsort(costs[name][:, 1]):
            error, macs, _ = costs[name][row]
            print(f"| {name} | {macs:,.0f} | {values[row]:.4f} | {1 - error:.4f} |")


def print_search_cost(results: Results, alone: float) -> None:
    """Print how many times less the search costs than training every candidate from scratch."""
    spent = results.facts["seconds"]
    each = spent["search"] / (len(results.values) + results.trials["failed"])
    print(f"one training from scratch {alone:.1f} s (mean of the winners), one evaluation {each:.3f} s")
    for count in (len(results.values), 1000, 3000):
        whole, searched = alone * count, each * count
        print(
            f"{count} evaluations: {whole / (spent['supernet'] + searched):.0f} times less with the supernet's "
            f"training, {whole / searched:.0f} times less with a supernet that was there"
        )


def plot(costs: dict[str, FloatArray], path: Path, quality: str) -> None:
    """Draw the fronts: the quality over MACs, and over latency."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    looks = {
        "ours": ("searched, fine-tuned", "#4f46e5", "o"),
        "scaled": ("scaled uniformly, from scratch, equal compute", "#8c564b", "s"),
        "again": ("the searched ones from scratch", "#9a9da6", "x"),
    }
    for axis, column, label in zip(axes, (1, 2), ("MACs", "latency [ms]"), strict=True):
        for name, table in costs.items():
            text, colour, marker = looks[name]
            axis.scatter(
                table[:, column], 100 * (1 - table[:, 0]), color=colour, marker=marker, label=text, s=34
            )
            front = table[non_dominated(table[:, [0, column]])]
            front = front[np.argsort(front[:, column])]
            if name != "again":
                axis.step(front[:, column], 100 * (1 - front[:, 0]), where="post", color=colour, alpha=0.5)
        axis.set(xlabel=label, xscale="log")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"test {quality} [%]")
    axes[1].legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
