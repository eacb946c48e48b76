"""Makes a table of one trained supernet: accuracy, MACs, parameters and latency of 3,000 of its architectures.

    python -m benchmarks.supernet_table --data $NAS_DATA --out runs/supernet-table

The space is that of ``benchmarks.fashion``: 1.4e9 architectures with conditional choices. The supernet is trained on
6,000 images of Fashion-MNIST (single path), every architecture is judged on 2,000 others with batch-norm statistics of
its own. Half of them are drawn uniformly; a quarter each with a leaning of its own to small or large; the rest are
neighbours of the front so far, because there a search spends its time. Every tenth is timed. Sixty, spread over the
sizes, are trained alone with two seeds.

Killed and run again, it goes on. ``table.npz`` in the folder holds what there is so far; ``benchmarks.search`` reads
the one in ``benchmarks/tables``, to which ``--table`` writes.
"""

from __future__ import annotations

import argparse
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
from nas.protocols import Bench
from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared, prepare
from nas.runner.progress import Silent
from nas.runner.supernet_training import train_supernet
from nas.search.designs import tilted_samples
from nas.search.proposals import neighbours
from nas.space import IntArray
from nas.supernet.recalibrate import extract_recalibrated
from surrogates.mixture import Mixture

_UNIFORM, _TILTED, _ROUNDS = 0.5, 0.25, 5
"""Shares of the architectures that are drawn uniformly and tilted; in how many rounds the front's neighbours are."""
_LATENCY_EVERY = 10
_LARGEST_ALONE = 1.5e6
"""MACs of what is trained alone, at most: beyond, the front gains little and a training takes five times as long."""


@final
@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Args:
        architectures: To judge with the supernet's weights.
        alone: Of these, how many to train alone.
        seeds: For each of these.
        recipe: Of training alone.
    """

    architectures: int = 3_000
    alone: int = 60
    seeds: int = 2
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=8, batch_size=128))


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
        return np.array([[int(digit) for digit in row["positions"]] for row in self.rows], dtype=np.int64)


def make_table(study: Study, plan: Plan, folder: Path) -> Path:
    """Do what is left to do and return the table's file."""
    prepared = prepare(study, torch.device("cpu"))
    run = RunDirectory(folder)
    with run.locked():
        run.claim(
            {**prepared.description(), "plan": [plan.architectures, plan.alone, plan.recipe.fingerprint]}
        )
        trained_s = train_supernet(prepared, run, Silent())
        print(f"supernet trained in {trained_s:.0f} s", flush=True)
        judged = Lines(folder / "judged.jsonl")
        timed, alone = Lines(folder / "timed.jsonl"), Lines(folder / "alone.jsonl")
        judge_architectures(prepared, plan, judged)
        time_architectures(prepared, judged, timed, folder / "calibration.json")
        path = folder / "table.npz"
        _write(path, prepared, judged, timed, alone)
        for _ in train_alone(prepared, plan, judged, alone):
            _write(path, prepared, judged, timed, alone)
    return path


def judge_architectures(prepared: Prepared, plan: Plan, judged: Lines) -> None:
    """Judge architecture after architecture with the supernet's weights."""
    begin = time.perf_counter()
    while len(judged.rows) < plan.architectures:
        for row in next_block(prepared, plan, judged)[: plan.architectures - len(judged.rows)]:
            started = time.process_time()
            module = extract_recalibrated(
                prepared.supernet, _architecture(prepared, row), prepared.splits.train
            )
            found = judge(prepared, module)
            seconds = round(time.process_time() - started, 3)
            judged.add({"positions": "".join(map(str, row)), **found, "seconds": seconds})
            if len(judged.rows) % 100 == 0:
                print(f"{len(judged.rows)} judged, {time.perf_counter() - begin:.0f} s", flush=True)


def judge(prepared: Prepared, module: nn.Module) -> dict[str, float]:
    """Return the accuracy and the cross-entropy on the search split."""
    split = prepared.splits.search
    outputs = SubnetCandidate(module, prepared.splits.inputs).predict(split.batch(slice(None)))
    right = int((outputs.argmax(1) == split.targets).sum())
    return {
        "accuracy": right / len(split),
        "loss": round(float(functional.cross_entropy(outputs, split.targets)), 5),
    }


def next_block(prepared: Prepared, plan: Plan, judged: Lines) -> IntArray:
    """Return what comes next, ``(n, num_choices)``; it depends on the architectures before its block alone."""
    total, done = plan.architectures, len(judged.rows)
    starts = [
        0,
        round(_UNIFORM * total),
        *np.linspace((_UNIFORM + _TILTED) * total, total, _ROUNDS + 1).round().astype(int),
    ]
    number = int(np.searchsorted(starts, done, side="right")) - 1
    begin, end = int(starts[number]), int(starts[number + 1])
    earlier = judged.positions()[:begin]
    seen, chosen = {row.tobytes() for row in earlier}, list[IntArray]()
    for row in _draws(prepared, judged, number, begin):
        if row.tobytes() not in seen:
            seen.add(row.tobytes())
            chosen.append(row)
        if len(chosen) == end - begin:
            break
    return np.array(chosen)[done - begin :]


def _draws(prepared: Prepared, judged: Lines, number: int, begin: int) -> Iterator[IntArray]:
    """Yield random architectures for a block without end."""
    rng, problem = np.random.default_rng([prepared.study.seed, number]), prepared.problem
    if number < 2:
        while True:
            yield from (
                problem.space.sample_indices(64, rng) if number == 0 else tilted_samples(problem, 64, rng)
            )
    positions = judged.positions()[:begin]
    errors = np.array([1 - row["accuracy"] for row in judged.rows[:begin]])
    front = positions[pareto.non_dominated(np.column_stack([errors, prepared.counts(positions).macs]))]
    while True:
        row = front[rng.integers(len(front))]
        for _ in range(rng.integers(1, 4)):
            near = neighbours(problem.space, row)
            row = near[rng.integers(len(near))]
        yield row


def time_architectures(prepared: Prepared, judged: Lines, timed: Lines, calibration: Path) -> None:
    """Measure the latency of every tenth architecture, in turns with the reference network."""
    latency = LatencyMs()
    if not calibration.exists():
        write_json(calibration, latency.calibrate())
    bench = Bench(prepared.splits.search, thorough=False, calibration=read_json(calibration))
    wanted = judged.rows[::_LATENCY_EVERY]
    for row in wanted[len(timed.rows) :]:
        positions = np.array([int(digit) for digit in row["positions"]])
        module = extract_recalibrated(
            prepared.supernet, _architecture(prepared, positions), prepared.splits.train, 0
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


def train_alone(prepared: Prepared, plan: Plan, judged: Lines, alone: Lines) -> Iterator[None]:
    """Train architectures from scratch, all seeds of one after another; yield after each training."""
    done = {(row["positions"], row["seed"]) for row in alone.rows}
    for row in chosen_alone(prepared, judged, plan.alone):
        for seed in range(plan.seeds):
            name = "".join(map(str, row))
            if (name, seed) in done:
                continue
            started = time.process_time()
            module = train_from_scratch(
                prepared.study.network,
                _architecture(prepared, row),
                prepared.splits.train,
                prepared.splits.task,
                plan.recipe,
                seed=seed,
                device=prepared.device,
            )
            found = {**judge(prepared, module), "seconds": round(time.process_time() - started, 3)}
            alone.add({"positions": name, "seed": seed, **found})
            print(f"{name} seed {seed}: {found}", flush=True)
            yield


def chosen_alone(prepared: Prepared, judged: Lines, count: int) -> IntArray:
    """Return what is trained alone: for each size what is nearest to it, and the most accurate about that large.

    Sizes are evenly spaced in the logarithm of MACs, and so ordered that a part of them, from the first, is spread too.
    """
    positions, accuracy = judged.positions(), np.array([row["accuracy"] for row in judged.rows])
    sizes = np.log(prepared.counts(positions).macs)
    targets = np.linspace(sizes.min(), min(sizes.max(), np.log(_LARGEST_ALONE)), -(-count // 2))
    chosen: list[int] = []
    for target in targets[_spread_order(len(targets))]:
        distance = np.abs(sizes - target)
        distance[chosen] = np.inf
        chosen.append(int(np.argmin(distance)))
        near = np.flatnonzero(distance < np.ptp(targets) / max(1, len(targets) - 1))
        near = near[~np.isin(near, chosen)]
        if len(near):
            chosen.append(int(near[np.argmax(accuracy[near])]))
    return positions[chosen[:count]]


def _spread_order(count: int) -> IntArray:
    """Return the ends, then what halves the largest gap (van der Corput 1935)."""
    fractions = [0.0, 1.0]
    while len(fractions) < 4 * count + 2:
        number, place, fraction = len(fractions) - 1, 0.5, 0.0
        while number:
            number, digit = divmod(number, 2)
            fraction, place = fraction + digit * place, place / 2
        fractions.append(fraction)
    order = dict.fromkeys(round(fraction * (count - 1)) for fraction in fractions)
    return np.array([*order, *(set(range(count)) - set(order))])


def _architecture(prepared: Prepared, row: IntArray) -> Architecture:
    return prepared.problem.space.from_indices(row[None])[0]


def _write(path: Path, prepared: Prepared, judged: Lines, timed: Lines, alone: Lines) -> None:
    positions = judged.positions()
    counts = prepared.counts(positions)
    rows = {row["positions"]: number for number, row in enumerate(judged.rows)}
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
            alone=np.array([rows[row["positions"]] for row in alone.rows], dtype=np.int64),
            alone_seed=np.array([row["seed"] for row in alone.rows], dtype=np.int64),
            alone_accuracy=np.array([row["accuracy"] for row in alone.rows]),
            alone_loss=np.array([row["loss"] for row in alone.rows]),
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
