"""Kendall's tau between supernet accuracy and the accuracy of the same architecture trained from scratch.

    python -m benchmarks.ranking --seeds 3 --architectures 20 --out runs/bench

Uses the supernets of ``front_vs_random`` where they are there. Training from scratch has the supernet's
recipe and epochs. Both accuracies are of the search split; the interval is a bootstrap over architectures.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kendalltau, spearmanr

from nas.evaluation import Accuracy, SubnetCandidate
from nas.evaluation.from_scratch import train_from_scratch
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.protocols import Bench
from nas.runner.directory import RunDirectory
from nas.runner.preparation import prepare
from nas.runner.progress import Silent
from nas.runner.supernet_training import train_supernet
from nas.supernet.recalibrate import extract_recalibrated
from studies.digits import study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--architectures", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    arguments = parser.parse_args()
    cpu = torch.device("cpu")
    taus = []
    for seed in range(arguments.seeds):
        chosen = dataclasses.replace(study(), seed=seed)
        prepared = prepare(chosen, cpu)
        splits = prepared.splits
        train_supernet(prepared, RunDirectory(arguments.out / f"digits-{seed}"), Silent())
        rng = np.random.default_rng(seed)
        bench = Bench(splits.search, thorough=False, calibration={})
        shared, alone, seconds = [], [], []
        for architecture in [prepared.problem.space.sample(rng) for _ in range(arguments.architectures)]:
            subnet = extract_recalibrated(prepared.supernet, architecture, splits.train)
            begin = time.perf_counter()
            trained = train_from_scratch(
                chosen.network, architecture, splits.train, chosen.recipe, seed=seed, device=cpu
            )
            seconds.append(time.perf_counter() - begin)
            candidates = [SubnetCandidate(m, splits.inputs) for m in (subnet, trained)]
            of_subnet, of_trained = MeasuredQuality(Accuracy()).measure(candidates, bench)
            shared.append(of_subnet.value)
            alone.append(of_trained.value)
        tau = kendalltau(shared, alone).statistic
        taus.append(tau)
        resampled = [rng.integers(len(alone), size=len(alone)) for _ in range(1000)]
        spread = [kendalltau(np.take(shared, rows), np.take(alone, rows)).statistic for rows in resampled]
        low, high = np.nanpercentile(spread, [2.5, 97.5])
        print(
            f"seed {seed}: tau {tau:.3f} (95 % {low:.2f} to {high:.2f}), "
            f"Spearman {spearmanr(shared, alone).statistic:.3f}, "
            f"supernet {min(shared):.4f} to {max(shared):.4f}, from scratch {min(alone):.4f} to {max(alone):.4f}, "
            f"{np.mean(seconds):.1f} s per training",
            flush=True,
        )
    print(f"tau over {len(taus)} seeds: mean {np.mean(taus):.3f}, from {min(taus):.3f} to {max(taus):.3f}")


if __name__ == "__main__":
    main()
