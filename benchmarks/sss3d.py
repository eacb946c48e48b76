"""SSS3D's claims on airborne LiDAR: what a search costs, and what its two stages save.

    python -m benchmarks.sss3d --data $NAS_DATA --out runs/sss3d --evaluations 60 --seeds 3

Trains the supernet of ``studies/sss3d_lidar.py`` unless ``--out`` holds it, and remembers every evaluation there, so
that a search is repeated for the price of its proposals. Seconds are those of one core: of the process, not the clock.

Published (Therrien 2023): weight sharing makes the single-stage search 303 times cheaper than training every candidate;
two stages reach its result in 54 % of its time; the space holds 2.88e17 networks.

Two stages are run in both orders: the sampling first, with the largest architecture, and the architecture first, with
the smallest sampling. ``--engine nsga2`` has the published method's NSGA-II in every search instead of ours.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna.samplers import BaseSampler, NSGAIISampler
from safetensors.torch import load_file, save_file
from torch import nn

from nas import SurrogateSearch
from nas.evaluation import Macs, MeanIoU
from nas.evaluation.from_scratch import fresh_network
from nas.objective import Measurement
from nas.pareto import hypervolume
from nas.runner.preparation import Prepared, prepare
from nas.search.loop import search
from nas.search.strategies.two_stage import TwoStage
from nas.space import Architecture
from nas.splits import Split
from nas.strategy import Problem, Strategy
from nas.supernet import recalibrate
from nas.training import make_supervised_step
from nas.training.loop import train
from studies.sss3d_lidar import ARCHITECTURE, SAMPLING, study
from surrogates.mixture import Mixture

CPU = torch.device("cpu")
_CALIBRATED_ON = 24
"""Blocks of train for the batch norm of a candidate: 24,576 points."""
_PUBLISHED_EPOCHS = 100


@dataclass
class Laboratory:
    """What every search asks: a trained supernet, and the evaluations that were ever made with it.

    Args:
        prepared: The study with two objectives, mean IoU and MACs.
        out: Folder of what is kept.
        facts: What was measured on the way, kept too.
    """

    prepared: Prepared
    out: Path
    facts: dict[str, float]
    known: dict[str, tuple[float, float]]

    @classmethod
    def open(cls, out: Path, epochs: int) -> Laboratory:
        """Read what is in a folder, and train the supernet where there is none."""
        prepared = prepare(replace(study(epochs=epochs), objectives=(MeanIoU(), Macs())), CPU)
        out.mkdir(parents=True, exist_ok=True)
        facts_file, file = out / "facts.json", out / "evaluations.jsonl"
        facts = json.loads(facts_file.read_text()) if facts_file.exists() else {}
        lines = file.read_text().splitlines() if file.exists() else []
        rows = [json.loads(line) for line in lines]
        made = cls(prepared, out, facts, {row["id"]: (row["mean_iou"], row["seconds"]) for row in rows})
        made._bring_weights()
        return made

    def keep(self, name: str, value: float) -> None:
        """Write a measured number down."""
        self.facts[name] = value
        (self.out / "facts.json").write_text(json.dumps(self.facts, indent=1))

    def _bring_weights(self) -> None:
        path, supernet = self.out / "supernet.safetensors", self.prepared.supernet
        if not path.exists():
            chosen, splits = self.prepared.study, self.prepared.splits
            (phase,) = chosen.training.phases(supernet, chosen.recipe, splits.task)
            begin = time.process_time()
            train(
                supernet,
                phase.step(),
                splits.train,
                phase.recipe,
                seed=chosen.seed,
                device=CPU,
                checkpoint=self.out / "training.pt",
                on_epoch=lambda epoch, loss: print(f"supernet, epoch {epoch}: loss {loss:.3f}", flush=True),
            )
            save_file({name: t.contiguous() for name, t in supernet.module.state_dict().items()}, path)
            self.keep("supernet_seconds", time.process_time() - begin)
        supernet.module.load_state_dict(load_file(path))
        supernet.eval()

    def evaluate(self, architecture: Architecture) -> tuple[float, float]:
        """Return the mean IoU on the search tile, and the seconds that it took when it was first asked."""
        if architecture.id not in self.known:
            begin = time.process_time()
            supernet, splits = self.prepared.supernet, self.prepared.splits
            with supernet.active(architecture):
                calibrate(supernet, splits.train)
                value = mean_iou(supernet, splits.search)
            self.known[architecture.id] = value, time.process_time() - begin
            row = {"id": architecture.id, "mean_iou": value, "seconds": self.known[architecture.id][1]}
            with (self.out / "evaluations.jsonl").open("a") as file:
                print(json.dumps(row), file=file)
        return self.known[architecture.id]


def calibrate(module: nn.Module, split: Split) -> None:
    """Give the batch norm of a network, or of an active subnet, statistics of its own."""
    recalibrate(module, [split.sample(_CALIBRATED_ON)])


@torch.no_grad()
def mean_iou(module: nn.Module, split: Split) -> float:
    """Return the mean IoU; the split's points that are repeated don't count."""
    quality = MeanIoU()
    found = [
        quality.statistics(module(split.batch(slice(start, start + 24))), split.targets[start : start + 24])
        for start in range(0, len(split), 24)
    ]
    return quality.value(torch.cat(found).numpy())


@dataclass(frozen=True)
class Trail:
    """What a search did: what it paid for, in order, and the seconds until each was judged.

    Args:
        architectures: Evaluated.
        values: ``(n, 2)`` mean IoU and MACs.
        seconds: ``(n,)``, proposals included.
    """

    architectures: list[Architecture]
    values: np.ndarray
    seconds: np.ndarray


ORDERS = {
    "sampling": ((SAMPLING, ARCHITECTURE), "largest"),
    "architecture": ((ARCHITECTURE, SAMPLING), "smallest"),
}
"""What the first stage searches, and where everything else stands meanwhile."""


@dataclass(frozen=True)
class Nsga2:
    """Therrien 2023's NSGA-II, with a population of which sixty evaluations make five generations."""

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        """Return Optuna's."""
        return NSGAIISampler(population_size=12, seed=seed)


ENGINES = {"ours": SurrogateSearch(Mixture), "nsga2": Nsga2()}
"""What searches, in a single stage or in each of two."""


def strategy_of(engine: str, order: str, first: int) -> Strategy:
    """Return a two-stage search, or the single-stage one that it is made of."""
    inner = ENGINES[engine]
    if order == "single":
        return inner
    partition, default = ORDERS[order]
    return TwoStage(inner, partition, first_evaluations=first, default=default)


def run_search(
    laboratory: Laboratory, engine: str, order: str, seed: int, evaluations: int, first: int
) -> Trail:
    """Return what a search does, or did."""
    problem = laboratory.prepared.problem
    name = f"{engine}-{order}-{seed}-{evaluations}" + ("" if order == "single" else f"-{first}")
    path = laboratory.out / f"trail-{name}.json"
    if not path.exists():
        path.write_text(json.dumps(walk(laboratory, strategy_of(engine, order, first), seed, evaluations)))
    rows = json.loads(path.read_text())
    architectures = [problem.space.architecture(row["options"]) for row in rows]
    quality = [laboratory.known[architecture.id][0] for architecture in architectures]
    macs = problem.count(problem.space.indices(architectures))["macs"]
    return Trail(architectures, np.stack([quality, macs], 1), np.array([row["seconds"] for row in rows]))


def walk(
    laboratory: Laboratory,
    strategy: Strategy,
    seed: int,
    evaluations: int,
    measure: Callable[[Architecture], Mapping[str, Measurement]] = lambda _: {},
) -> list[dict[str, object]]:
    """Search, and return each architecture with the seconds until it was judged.

    Args:
        laboratory: Evaluates.
        strategy: Proposes.
        seed: Its seed.
        evaluations: How many.
        measure: Gives the objectives beside mean IoU that aren't counted.
    """
    problem = laboratory.prepared.problem
    rows: list[dict[str, object]] = []
    begin, added = time.process_time(), 0.0

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        nonlocal added
        start = time.process_time()
        value, cost = laboratory.evaluate(architecture)
        added += cost - (time.process_time() - start)  # what is remembered costs what it once did
        rows.append({"options": dict(architecture), "seconds": time.process_time() - begin + added})
        counts = problem.count(problem.space.indices([architecture]))
        counted = {name: Measurement(float(c[0]), 0.0, "", "counted", 1) for name, c in counts.items()}
        return {"mean_iou": Measurement(value, 0.0, "", "supernet", 1), **counted, **measure(architecture)}

    directions = [objective.direction for objective in problem.objectives]
    record = optuna.create_study(directions=directions, sampler=strategy.sampler(problem, seed))
    search(record, problem, evaluate, evaluations=evaluations, on_trial=lambda trial: None)
    return rows


def volumes(trail: Trail, most: float, least: float, scale: str) -> np.ndarray:
    """Return the hypervolume after each evaluation: mean IoU against MACs or their logarithm, all of it 1.

    In plain MACs a network of a hundredth of the largest's covers nearly everything that has its mean IoU, so what
    counts is how good large networks are; in logarithms small ones count as much.
    """
    macs = trail.values[:, 1]
    size = macs / most if scale == "MACs" else np.log(macs / least) / np.log(most / least)
    costs = np.stack([1 - trail.values[:, 0], size], 1)
    return np.array([hypervolume(costs[: n + 1], np.ones(2)) for n in range(len(costs))])


def compare_stages(
    laboratory: Laboratory, engine: str, singles: Sequence[Trail], order: str, first: int
) -> None:
    """Print evaluations and seconds until two stages are where a single one ended."""
    space, counter = laboratory.prepared.problem.space, laboratory.prepared.counter
    ends = counter.counts(space.indices([space.largest(), space.smallest()])).macs.astype(float)
    evaluations = len(singles[0].seconds)
    trails = [run_search(laboratory, engine, order, seed, evaluations, first) for seed in range(len(singles))]
    for scale in ("logarithm of MACs", "MACs"):
        print(f"\ntwo stages ({order} first, {first} of {evaluations} evaluations) against one, {scale}")
        shares = []
        for seed, (single, staged) in enumerate(zip(singles, trails, strict=True)):
            one, both = (volumes(trail, *ends, scale) for trail in (single, staged))
            shares.append(find_share_needed(one, both, single.seconds, staged.seconds))
            print(f"  seed {seed}: two stages reach the single one's end after {format_share(shares[-1])}")
            for name, values in (("single", one), ("staged", both)):
                print(f"    {name}", " ".join(f"{value:.3f}" for value in values[9::10]), flush=True)
        for name, column in (("evaluations", 0), ("time", 1)):
            mean = np.mean([share[column] for share in shares])
            print(f"  mean share of {name}: {mean:.2f} (published: 0.54 of the time)")


def find_share_needed(
    one: np.ndarray, both: np.ndarray, one_seconds: np.ndarray, both_seconds: np.ndarray
) -> tuple[float, float]:
    """Return which share of evaluations and of seconds two stages need; infinite where they don't get there."""
    there = np.flatnonzero(both >= one[-1])
    if not len(there):
        return float("inf"), float("inf")
    when = np.flatnonzero(one >= one[-1])[0]  # the single stage's own last step forward
    return (there[0] + 1) / (when + 1), both_seconds[there[0]] / one_seconds[when]


def format_share(share: tuple[float, float]) -> str:
    if not np.isfinite(share[0]):
        return "more evaluations than it had"
    return f"{share[0]:.2f} of its evaluations, {share[1]:.2f} of its time"


def compare_cost(laboratory: Laboratory, trails: Sequence[Trail], epochs: int) -> None:
    """Print what the single-stage search costs against training every candidate."""
    prepared = laboratory.prepared
    evaluated = [a for trail in trails for a in trail.architectures]
    macs = np.concatenate([trail.values[:, 1] for trail in trails])
    middle = evaluated[int(np.argsort(macs)[len(macs) // 2])]
    if "alone_epoch_seconds" not in laboratory.facts:
        module = fresh_network(prepared.study.network, 0).extract(middle)
        step = make_supervised_step(module, prepared.splits.task, prepared.study.recipe)
        begin = time.process_time()
        train(
            module, step, prepared.splits.train, replace(prepared.study.recipe, epochs=1), seed=0, device=CPU
        )
        laboratory.keep("alone_epoch_seconds", time.process_time() - begin)
    epoch, each = laboratory.facts["alone_epoch_seconds"], mean_seconds(trails)
    print(
        f"\nan epoch of the candidate of median MACs: {epoch:.1f} s; an evaluation, proposals included: {each:.2f} s"
    )
    for number, whose in ((epochs, "the supernet's"), (_PUBLISHED_EPOCHS, "Hu 2020's")):
        print(
            f"single-stage search against training every candidate for {whose} {number} epochs (estimated), supernet "
            f"given: {epoch * number / each:.0f} times cheaper (published 303)"
        )
    supernet = laboratory.facts.get("supernet_seconds")
    if supernet is not None:
        for count in (len(trails[0].seconds), 1000):
            ratio = epoch * epochs * count / (supernet + each * count)
            print(
                f"  with the supernet's {supernet:.0f} s, {count} evaluations, {epochs} epochs: {ratio:.0f} times"
            )


def mean_seconds(trails: Sequence[Trail]) -> float:
    """Return the mean seconds of an evaluation."""
    return float(np.mean([trail.seconds[-1] / len(trail.seconds) for trail in trails]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=None, help="default: NAS_DATA")
    parser.add_argument("--out", type=Path, default=Path("runs/sss3d"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=60)
    parser.add_argument("--engine", choices=list(ENGINES), default="ours", help="searches in every stage")
    parser.add_argument("--orders", nargs="*", choices=list(ORDERS), default=list(ORDERS))
    parser.add_argument("--first", type=int, default=20, help="evaluations of the first stage")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.data is not None:
        os.environ["NAS_DATA"] = str(arguments.data)
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    laboratory = Laboratory.open(arguments.out, arguments.epochs)
    cardinality = laboratory.prepared.problem.space.cardinality()
    print(f"{cardinality:,} networks = {cardinality:.2e} (published 2.88e17)")
    trails = [
        run_search(laboratory, arguments.engine, "single", seed, arguments.evaluations, 0)
        for seed in range(arguments.seeds)
    ]
    compare_cost(laboratory, trails, arguments.epochs)
    for order in arguments.orders:
        compare_stages(laboratory, arguments.engine, trails, order, arguments.first)


if __name__ == "__main__":
    main()
