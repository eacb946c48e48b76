"""Makes a table of one trained supernet: accuracy, MACs, parameters and latency of 3,000 of its architectures.

    python -m benchmarks.supernet_table --data $NAS_DATA --out runs/supernet-table

The space is that of ``benchmarks.fashion``: 1.4e9 architectures with conditional choices. The supernet is trained on
6,000 images of Fashion-MNIST (single path). Every architecture is judged on 1,000 others, with batch-norm statistics of
its own. Of every 300, 150 are drawn uniformly, 75 with a leaning of their own to small or large, and 75 are near the
front so far, because there a search spends its time. Every tenth is timed. Sixty, spread over the sizes, are trained
alone with two seeds: half of them drawn, half the most accurate of their size in the supernet.

Killed and run again, it goes on. ``table.npz`` in the folder holds what there is so far; ``benchmarks.search`` reads
the one in ``benchmarks/tables``, to which ``--table`` writes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.fashion import FashionSubset, fashion_network
from benchmarks.tables.supernet import FILE, SupernetTable, write_table
from nas import Accuracy, Architecture, LatencyMs, Macs, Recipe, SinglePath, Study, SurrogateSearch, pareto
from nas.evaluation import SubnetCandidate
from nas.evaluation.from_scratch import train_from_scratch
from nas.files import read_json, write_json
from nas.objectives import Bench
from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared, prepare
from nas.runner.progress import Silent
from nas.runner.supernet_training import train_supernet
from nas.search.models.designs import draw_tilted_samples
from nas.search.models.proposals import neighbours
from nas.space import FloatArray, IntArray
from nas.supernet.recalibrate import extract_recalibrated
from surrogates.mixture import Mixture

_UNIFORM, _TILTED, _NEAR_FRONT = 150, 75, 75
"""How many architectures of each kind a round draws; a table that was stopped early has its share of each."""
_ROUND = _UNIFORM + _TILTED + _NEAR_FRONT
_LATENCY_EVERY = 10
_LARGEST_ALONE = 1.2e6
"""MACs of what is trained alone, at most: beyond, the front gains little and a training takes five times as long."""


@final
@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Args:
        architectures: To judge with the supernet's weights.
        alone: How many of these to train alone.
        seeds: For each of these.
        recipe: Recipe of training alone.
        images: Images of the search split, to judge with; what is trained alone is judged with all.
        recalibration: Training images for the batch-norm statistics.
    """

    architectures: int = 3_000
    alone: int = 60
    seeds: int = 2
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=6, batch_size=128))
    images: int = 1_000
    recalibration: int = 256


def fashion_study(data: Path, epochs: int = 80) -> Study:
    """Return the study whose supernet is asked."""
    return Study(
        name="fashion-supernet",
        network=fashion_network,
        data=FashionSubset(data),
        objectives=(Accuracy(), Macs()),
        recipe=Recipe(epochs=epochs, batch_size=128),
        training=SinglePath(),
        strategy=SurrogateSearch(Mixture),
    )


@final
class Lines:
    """A file with a JSON object per line; one that a killed process left half-written doesn't count."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[dict[str, Any]] = []
        text = path.read_text() if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if len(whole) < len(text):
            path.write_text(whole)
        self.rows = [json.loads(line) for line in whole.splitlines()]

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        self.rows.append(row)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def positions(self) -> IntArray:
        """Return the architectures of all rows, ``(n, num_choices)``."""
        if not self.rows:
            return np.zeros((0, 0), dtype=np.int64)
        return np.array([[int(digit) for digit in row["positions"]] for row in self.rows], dtype=np.int64)


def make_table(study: Study, plan: Plan, folder: Path) -> Path:
    """Do what is left to do and return the table's file."""
    prepared = prepare(study, torch.device("cpu"))
    run = RunDirectory(folder)
    with run.lock():
        made_with = [plan.seeds, plan.recipe.fingerprint, plan.images, plan.recalibration]
        run.claim({**prepared.description(), "plan": made_with})
        trained_s = train_supernet(prepared, run, Silent())
        print(f"supernet trained in {trained_s:.0f} s", flush=True)
        judged = Lines(folder / "judged.jsonl")
        timed, alone = Lines(folder / "timed.jsonl"), Lines(folder / "alone.jsonl")
        path = folder / "table.npz"
        while len(judged.rows) < plan.architectures or len(timed.rows) < len(_list_to_time(judged)):
            judge_round(prepared, plan, judged)
            time_architectures(prepared, judged, timed, folder / "calibration.json")
            _write(path, prepared, judged, timed, alone)
        for _ in train_alone(prepared, plan, judged, alone):
            _write(path, prepared, judged, timed, alone)
    return path


def judge_round(prepared: Prepared, plan: Plan, judged: Lines) -> None:
    """Judge what is left of a round with the supernet's weights."""
    train = prepared.splits.train
    for row in next_ones(prepared, judged)[: plan.architectures - len(judged.rows)]:
        started = time.process_time()
        module = extract_recalibrated(
            prepared.supernet, _make_architecture(prepared, row), train, plan.recalibration
        )
        found = judge(prepared, module, plan.images)
        judged.add({"positions": _text(row), **found, "seconds": round(time.process_time() - started, 3)})
    print(f"{len(judged.rows)} judged", flush=True)


def judge(prepared: Prepared, module: nn.Module, images: int | None = None) -> dict[str, float]:
    """Return the accuracy and the cross-entropy on the search split, or on so many of its images."""
    split = prepared.splits.search
    outputs = SubnetCandidate(module, prepared.splits.inputs).predict(split.batch(slice(images)))
    targets = split.targets[:images]
    right = int((outputs.argmax(1) == targets).sum())
    return {
        "accuracy": right / len(targets),
        "loss": round(float(functional.cross_entropy(outputs, targets)), 5),
    }


def next_ones(prepared: Prepared, judged: Lines) -> IntArray:
    """Return the architectures of a round that are not judged yet; they depend on the rounds before alone."""
    number, done = divmod(len(judged.rows), _ROUND)
    earlier = judged.positions()[: number * _ROUND]
    errors = np.array([1 - row["accuracy"] for row in judged.rows[: number * _ROUND]])
    seen, chosen = {row.tobytes() for row in earlier}, list[IntArray]()
    for rows, count in (
        (draw_architectures(prepared, number), _UNIFORM + _TILTED),
        (near_front(prepared, earlier, errors, number), _NEAR_FRONT),
    ):
        new = (row for row in rows if row.tobytes() not in seen)
        for row in itertools.islice(new, count):
            seen.add(row.tobytes())
            chosen.append(row)
    return np.array(chosen)[done:]


def draw_architectures(prepared: Prepared, number: int) -> Iterator[IntArray]:
    """Yield what a round draws uniformly, then without end what it draws with a leaning."""
    rng, problem = np.random.default_rng([prepared.study.seed, number]), prepared.problem
    yield from problem.space.sample_indices(_UNIFORM, rng)
    while True:
        yield from draw_tilted_samples(problem, _TILTED, rng)


def near_front(prepared: Prepared, earlier: IntArray, errors: FloatArray, number: int) -> Iterator[IntArray]:
    """Yield without end what differs from a member of the front so far in one to three choices."""
    rng, space = np.random.default_rng([prepared.study.seed, number, 1]), prepared.problem.space
    while not len(earlier):
        yield from draw_tilted_samples(prepared.problem, _NEAR_FRONT, rng)
    front = earlier[pareto.non_dominated(np.column_stack([errors, prepared.counts(earlier).macs]))]
    while True:
        row = front[rng.integers(len(front))]
        for _ in range(rng.integers(1, 4)):
            near = neighbours(space, row)
            row = near[rng.integers(len(near))]
        yield row


def time_architectures(prepared: Prepared, judged: Lines, timed: Lines, calibration: Path) -> None:
    """Measure the latency of every tenth architecture, in turns with the reference network."""
    latency = LatencyMs()
    if not calibration.exists():
        write_json(calibration, latency.calibrate())
    bench = Bench(prepared.splits.search, thorough=False, calibration=read_json(calibration))
    for row in _list_to_time(judged)[len(timed.rows) :]:
        positions = np.array([int(digit) for digit in row["positions"]])
        module = extract_recalibrated(
            prepared.supernet, _make_architecture(prepared, positions), prepared.splits.train, 0
        )
        found = latency.measure([SubnetCandidate(module, prepared.splits.inputs)], bench)[0]
        timed.add(
            {
                "positions": row["positions"],
                "ms": found.value,
                "spread_ms": found.spread,
                "device": found.device,
            }
        )
    print(f"{len(timed.rows)} timed", flush=True)


def _list_to_time(judged: Lines) -> list[dict[str, Any]]:
    return judged.rows[::_LATENCY_EVERY]


def train_alone(prepared: Prepared, plan: Plan, judged: Lines, alone: Lines) -> Iterator[None]:
    """Train architectures from scratch, all seeds of one after another; yield after each training."""
    done = {(row["positions"], row["seed"]) for row in alone.rows}
    for row in choose_alone(prepared, plan, judged):
        for seed in range(plan.seeds):
            name = _text(row)
            if (name, seed) in done:
                continue
            started = time.process_time()
            module = train_from_scratch(
                prepared.study.network,
                _make_architecture(prepared, row),
                prepared.splits.train,
                prepared.splits.task,
                plan.recipe,
                seed=seed,
                device=prepared.training_device,
            )
            found = {**judge(prepared, module), "seconds": round(time.process_time() - started, 3)}
            alone.add({"positions": name, "seed": seed, **found})
            print(f"{name} seed {seed}: {found}", flush=True)
            yield


def choose_alone(prepared: Prepared, plan: Plan, judged: Lines) -> IntArray:
    """Return what is trained alone: drawn ones near to each size, then the most accurate about that large.

    Sizes are evenly spaced in the logarithm of MACs. They take turns; the first few are spread too.
    """
    drawn = np.concatenate(
        [
            [
                *itertools.islice(
                    draw_architectures(prepared, number), min(_UNIFORM + _TILTED, plan.architectures)
                )
            ]
            for number in range(max(1, plan.architectures // _ROUND))
        ]
    )
    sizes, num_drawn = np.log(prepared.counts(drawn).macs), -(-plan.alone // 2)
    targets = np.linspace(sizes.min(), min(sizes.max(), np.log(_LARGEST_ALONE)), num_drawn)
    chosen = dict[bytes, IntArray]()

    def take(rows: IntArray, worth: FloatArray) -> None:
        best = next((row for row in rows[np.argsort(-worth)] if row.tobytes() not in chosen), None)
        if best is not None:
            chosen[best.tobytes()] = best

    order = _spread_order(num_drawn)
    for target in targets[order]:
        take(drawn, -np.abs(sizes - target))
    positions, accuracy = judged.positions(), np.array([row["accuracy"] for row in judged.rows])
    sizes, step = np.log(prepared.counts(positions).macs), np.ptp(targets) / max(1, num_drawn - 1)
    for target in targets[order[: plan.alone - num_drawn]]:
        about = np.abs(sizes - target) <= max(step, float(np.abs(sizes - target).min()))
        take(positions[about], accuracy[about])
    rows = [*chosen.values()]
    pairs = itertools.zip_longest(rows[:num_drawn], rows[num_drawn:])
    return np.array([row for pair in pairs for row in pair if row is not None])


def _spread_order(count: int) -> IntArray:
    """Return the ends, then what halves the largest gap."""
    fractions = [0.0, 1.0]
    while len(fractions) < 4 * count + 2:
        number, place, fraction = len(fractions) - 1, 0.5, 0.0
        while number:
            number, digit = divmod(number, 2)
            fraction, place = fraction + digit * place, place / 2
        fractions.append(fraction)
    order = dict.fromkeys(round(fraction * (count - 1)) for fraction in fractions)
    return np.array([*order, *(set(range(count)) - set(order))])


def _make_architecture(prepared: Prepared, row: IntArray) -> Architecture:
    return prepared.problem.space.from_indices(row[None])[0]


def _text(row: IntArray) -> str:
    return "".join(map(str, row))


def _write(path: Path, prepared: Prepared, judged: Lines, timed: Lines, alone: Lines) -> None:
    positions = judged.positions()
    counts = prepared.counts(positions)
    rows = {row["positions"]: number for number, row in enumerate(judged.rows)}
    trained = [row for row in alone.rows if row["positions"] in rows]
    write_table(
        path,
        SupernetTable(
            space=prepared.problem.space,
            positions=positions,
            accuracy=np.array([row["accuracy"] for row in judged.rows]),
            loss=np.array([row["loss"] for row in judged.rows]),
            macs=counts.macs,
            num_params=counts.num_params,
            timed=np.array([rows[row["positions"]] for row in timed.rows], dtype=np.int64),
            latency_ms=np.array([row["ms"] for row in timed.rows]),
            latency_spread_ms=np.array([row["spread_ms"] for row in timed.rows]),
            alone=np.array([rows[row["positions"]] for row in trained], dtype=np.int64),
            alone_seed=np.array([row["seed"] for row in trained], dtype=np.int64),
            alone_accuracy=np.array([row["accuracy"] for row in trained]),
            alone_loss=np.array([row["loss"] for row in trained]),
            device=timed.rows[0]["device"] if timed.rows else "",
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/supernet-table"))
    parser.add_argument(
        "--table", action="store_true", help="also replace the table that benchmarks.search reads"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path = make_table(fashion_study(arguments.data), Plan(), arguments.out)
    if arguments.table:
        FILE.write_bytes(path.read_bytes())
    print(path)


if __name__ == "__main__":
    main()
