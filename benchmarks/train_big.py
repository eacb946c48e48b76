"""Whether to train big, then compress (Li 2020), as fronts of the study ``train_big`` show it on handwritten digits.

    python -m benchmarks.train_big --seeds 3 --evaluations 100 --out runs/train_big

Every run begins with the 18 networks as they are and trained to the end, which is what one does without the claim;
the search adds to them. Prints each front; which network is best within equal bytes, of those that are left as they
are, those whose weights share 16 or 256 values, and those that are pruned too; and within equal multiplications of
the training, of those that are trained to the end and of those that stop before. Accuracy is of the 360 images of the
search split, of which one is 0.0028, and the best of more candidates is flattered more. Pruning is in one step and
nothing is trained after it, but for winners, whose accuracy is of the test split. Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import torch

from nas import Study
from nas.runner import run
from nas.runner.directory import RunDirectory
from nas.runner.progress import Silent
from nas.search.record.trials import complete_trials
from studies.train_big import study

_BYTES = (2_500, 5_000, 10_000, 40_000)
"""Just above the smallest networks as they are: 2,440 bytes with 8 features, 4,840 with 16, 9,640 with 32."""
_TRAINING = (5e7, 1e8, 3e8, 1e9)


@dataclass(frozen=True)
class Row:
    """A candidate: what it chose, and what came of it."""

    choices: dict[str, float]
    accuracy: float
    weight_bytes: float
    training: float

    def __str__(self) -> str:
        made = self.choices
        layers = f"{made['width']:.0f}x{made['extra_depth'] + 1:.0f}"
        return (
            f"{self.accuracy:.4f}  {self.weight_bytes:9,.0f} B  {self.training:8.1e} MACs  {layers:6s} "
            f"{made['training.epochs']:2.0f} epochs  keep {made['prune.keep']:<5g} {made['cluster.bits']:2.0f} bits"
        )

    @property
    def kind(self) -> str:
        """How it is compressed."""
        if self.choices["prune.keep"] < 1:
            return "pruned"
        return "as it is" if self.choices["cluster.bits"] == 32 else "clustered"

    @property
    def stops(self) -> str:
        """How long it was trained."""
        return "to the end" if self.choices["training.epochs"] == study().recipe.epochs else "stopped early"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/train_big"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = [
        run_search(make_study(seed, arguments.evaluations), arguments.out / str(seed))
        for seed in range(arguments.seeds)
    ]
    print(f"{arguments.seeds} seeds, {arguments.evaluations} evaluations each\n")
    print("best accuracy within equal bytes")
    compare(
        found, _BYTES, lambda row: row.weight_bytes, lambda row: row.kind, ("as it is", "clustered", "pruned")
    )
    print("best accuracy within an equal cost of training")
    compare(
        found,
        _TRAINING,
        lambda row: row.training,
        lambda row: row.stops,
        ("to the end", "stopped early"),
    )


def make_study(seed: int, evaluations: int) -> Study:
    """Return the study with the networks as they are, trained to the end, to begin with."""
    plain = study(evaluations, seed=seed)
    largest = {"training.epochs": plain.recipe.epochs, "prune.keep": 1.0, "cluster.bits": 32}
    sizes = itertools.product((8, 16, 32, 64, 128, 256), (0, 1, 2))
    known = tuple({"width": width, "extra_depth": depth, **largest} for width, depth in sizes)
    return dataclasses.replace(plain, warm_start=known)


def run_search(variant: Study, folder: Path) -> list[Row]:
    """Return all candidates of a run, after its front and its winners are printed."""
    results = run(variant, folder, training_device=torch.device("cpu"), progress=Silent())
    objectives = [objective.objective for objective in variant.objectives]
    trials = complete_trials(RunDirectory(folder).open_study(variant.name, objectives, None))
    rows = [Row(dict(trial.params), *trial.values) for trial in trials]
    print(f"front of seed {variant.seed}")
    for row in sorted((rows[number] for number in results.front), key=lambda row: row.weight_bytes):
        print(f"  {row}")
    print("its winners, fine-tuned; accuracy on the test split")
    for winner in results.winners:
        values, choices = winner.variants[-1].values, dict(winner.choices)
        measured = [values[name].value for name in ("accuracy", "weight_bytes", "training_macs")]
        print(f"  {Row(choices, *measured)}, {winner.searched['accuracy'].value:.4f} in the search")
    print(flush=True)
    return rows


def compare(
    found: Sequence[Sequence[Row]],
    levels: Sequence[float],
    cost: Callable[[Row], float],
    kind: Callable[[Row], str],
    kinds: Sequence[str],
) -> None:
    """Print the best of each kind below each level of a cost, with its spread over the seeds."""
    for level in levels:
        print(f"  at most {level:,.0f}")
        for one in kinds:
            within = [[row for row in rows if kind(row) == one and cost(row) <= level] for rows in found]
            best = [max(rows, key=lambda row: row.accuracy) for rows in within if rows]
            if not best:
                print(f"    {one:14s} none")
                continue
            values = [row.accuracy for row in best]
            spread = statistics.stdev(values) if len(values) > 1 else float("nan")
            said = ", ".join(_size(row) for row in best)
            print(f"    {one:14s} {statistics.mean(values):.4f} ± {spread:.4f} in {len(best)} seeds: {said}")
    print()


def _size(row: Row) -> str:
    made = row.choices
    compressed = "" if row.kind == "as it is" else f"/{made['prune.keep']:g}/{made['cluster.bits']:.0f}b"
    return f"{made['width']:.0f}x{made['extra_depth'] + 1:.0f}{compressed} @{made['training.epochs']:.0f}"


if __name__ == "__main__":
    main()
