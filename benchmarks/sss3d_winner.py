"""The best RandLA-Net of at most half the whole one's MACs and time beside the whole one, on tiles that no search saw.

    python -m benchmarks.sss3d_winner --data $NAS_DATA --out runs/sss3d --evaluations 100 --winners 3 --epochs 24

Searches for mean IoU and time among the networks of at most half the MACs of ``studies/sss3d_lidar.py``'s whole one,
with the supernet that ``benchmarks/sss3d.py`` left in ``--out`` or a new one; half of its time in ONNX Runtime is a
soft limit. The best are fine-tuned with the whole network as their teacher, which is fine-tuned itself for as many
epochs; the winner is the best of these on the search tile. Spreads are standard deviations over the blocks that the
test tiles are cut into (bootstrap). Weights and evaluations are kept in ``--out``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import torch
from onnxruntime import InferenceSession, SessionOptions
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.sss3d import CPU, Laboratory, calibrate, strategy_of, walk
from nas import Constraint
from nas.evaluation import LatencyMs, Macs, MeanIoU, SubnetCandidate
from nas.evaluation.quality.measuring import collect_statistics, measure_statistics
from nas.objective import Measurement
from nas.objectives import Bench
from nas.runner.preparation import prepare
from nas.space import Architecture, FloatArray
from nas.splits import Split
from nas.training import Recipe, distillation_step, make_supervised_step
from nas.training.loop import train

_TURNS = 15
"""Of two networks, whose median is their time in the search."""
_DRAWS = 1000
"""Of the bootstrap, so that a standard deviation is known to 2 % (Efron 1993, section 6.4)."""


def search_half(laboratory: Laboratory, evaluations: int, seed: int) -> list[Architecture]:
    """Return the networks of at most half the whole one's MACs and time that a search evaluates, the best first."""
    prepared = laboratory.prepared
    space, latency = prepared.problem.space, LatencyMs()
    macs = float(prepared.counter.counts(space.indices([space.largest()])).macs[0])
    limits = Constraint(Macs(), macs / 2), Constraint(latency, 50)
    chosen = replace(prepared.study, objectives=(MeanIoU(), latency), constraints=limits)
    bounded = replace(laboratory, prepared=replace(prepared, problem=prepare(chosen, CPU).problem))
    whole = open_session(laboratory, space.largest())
    percents: dict[Architecture, float] = {}  # of the whole network's time, which is the unit of the limit

    def time_candidate(architecture: Architecture) -> dict[str, Measurement]:
        percents[architecture] = 100 * measure_time_share(
            laboratory, whole, open_session(laboratory, architecture)
        )
        return {"latency_ms": Measurement(percents[architecture], 0.0, "ms", "processor", _TURNS)}

    walk(bounded, strategy_of("ours", "single", 0), seed, evaluations, time_candidate)
    fast = [architecture for architecture, percent in percents.items() if percent <= 50]
    return sorted(fast, key=lambda architecture: -laboratory.known[architecture.id][0])


def open_session(laboratory: Laboratory, architecture: Architecture) -> InferenceSession:
    """Return an architecture of the supernet's in ONNX Runtime, on one thread."""
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    module = laboratory.prepared.supernet.extract(architecture).eval()
    model = SubnetCandidate(module, laboratory.prepared.splits.inputs).onnx_model
    return InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measure_time_share(laboratory: Laboratory, whole: InferenceSession, other: InferenceSession) -> float:
    """Return a network's share of the whole one's time: the processor's, which a busy machine changes little."""
    block = laboratory.prepared.splits.search.batch(slice(0, 1)).numpy()
    seconds = np.zeros((_TURNS, 2))
    for turn in range(_TURNS):
        for column, session in enumerate((whole, other)):
            begin = time.process_time()
            session.run(None, {session.get_inputs()[0].name: block})
            seconds[turn, column] = time.process_time() - begin
    median_whole, median_other = np.median(seconds, axis=0)
    return float(median_other / median_whole)


def measure_latencies(
    laboratory: Laboratory, modules: Sequence[nn.Module], seconds: float
) -> list[Measurement]:
    """Return the milliseconds of a block in ONNX Runtime, measured in turns."""
    splits = laboratory.prepared.splits
    latency = LatencyMs(long_seconds=seconds)
    bench = Bench(splits.test, True, latency.calibrate())
    return latency.measure([SubnetCandidate(module, splits.inputs) for module in modules], bench)


def finish(
    laboratory: Laboratory, architecture: Architecture, recipe: Recipe, teacher: nn.Module | None
) -> nn.Module:
    """Return an architecture with the supernet's weights, fine-tuned; remembered."""
    prepared = laboratory.prepared
    task, split = prepared.splits.task, prepared.splits.train
    module = prepared.supernet.extract(architecture)
    path = laboratory.out / f"finished-{architecture.id}-{recipe.epochs}-{recipe.learning_rate:g}.safetensors"
    if not path.exists():
        alone = make_supervised_step(module, task, recipe)
        step = alone if teacher is None else distillation_step(module, teacher, task, recipe)
        train(module, step, split, recipe, seed=0, device=CPU)
        calibrate(module, split)
        save_file(module.state_dict(), path)
    module.load_state_dict(load_file(path))
    return module.eval()


def judge_network(laboratory: Laboratory, module: nn.Module, split: Split) -> FloatArray:
    """Return the statistics of the mean IoU, a row for each block."""
    return collect_statistics(MeanIoU(), SubnetCandidate(module, laboratory.prepared.splits.inputs), split)


def bootstrap_loss(whole: FloatArray, other: FloatArray) -> tuple[float, float]:
    """Return how much mean IoU a network loses against the whole one on the same blocks, and its spread."""
    quality, rng = MeanIoU(), np.random.default_rng(0)
    drawn = rng.integers(len(whole), size=(_DRAWS, len(whole)))
    losses = [quality.value(whole[rows]) - quality.value(other[rows]) for rows in drawn]
    return quality.value(whole) - quality.value(other), float(np.std(losses))


def print_winners(
    laboratory: Laboratory, finished: dict[Architecture, nn.Module], winner: Architecture
) -> None:
    """Print the finished networks, the whole one first, beside what they lose."""
    splits, counter = laboratory.prepared.splits, laboratory.prepared.counter
    macs = counter.counts(laboratory.prepared.problem.space.indices(list(finished))).macs
    times = measure_latencies(laboratory, list(finished.values()), 5.0)
    judged = [judge_network(laboratory, module, splits.test) for module in finished.values()]
    print(
        "| network | MACs | latency, ms | MACs | time | search mean IoU | test mean IoU | points lost |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for row, (architecture, module) in enumerate(finished.items()):
        name = "whole" if row == 0 else ("winner" if architecture == winner else "other")
        test = measure_statistics(MeanIoU(), judged[row])
        lost, spread = bootstrap_loss(judged[0], judged[row])
        searched = MeanIoU().value(judge_network(laboratory, module, splits.search))
        print(
            f"| {name} | {macs[row] / 1e6:.2f} M | {times[row].value:.2f} ± {times[row].spread:.2f} "
            f"| {macs[row] / macs[0]:.2f} | {times[row].value / times[0].value:.2f} | {100 * searched:.1f} "
            f"| {100 * test.value:.1f} ± {100 * test.spread:.1f} | {100 * lost:+.1f} ± {100 * spread:.1f} |"
        )
    print(f"winner: {dict(winner)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=None, help="default: NAS_DATA")
    parser.add_argument("--out", type=Path, default=Path("runs/sss3d"))
    parser.add_argument("--supernet-epochs", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--winners", type=int, default=3, help="how many to fine-tune")
    parser.add_argument("--epochs", type=int, default=24, help="of the fine-tuning")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="of the fine-tuning")
    parser.add_argument("--seed", type=int, default=0, help="of the search")
    arguments = parser.parse_args()
    if arguments.data is not None:
        os.environ["NAS_DATA"] = str(arguments.data)
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    laboratory = Laboratory.open(arguments.out, arguments.supernet_epochs)
    ranked = search_half(laboratory, arguments.evaluations, arguments.seed)
    chosen = ranked[: arguments.winners]
    if not chosen:
        raise SystemExit("no network of half the MACs takes half the time: give the search more evaluations")
    usual = laboratory.prepared.study.winners.recipe
    recipe = replace(usual, epochs=arguments.epochs, learning_rate=arguments.learning_rate)
    largest = laboratory.prepared.problem.space.largest()
    whole = finish(laboratory, largest, recipe, None)
    finished = {largest: whole, **{a: finish(laboratory, a, recipe, whole) for a in chosen}}
    search = laboratory.prepared.splits.search
    winner = max(chosen, key=lambda a: MeanIoU().value(judge_network(laboratory, finished[a], search)))
    print_winners(laboratory, finished, winner)


if __name__ == "__main__":
    main()
