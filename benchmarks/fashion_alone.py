"""Trains architectures of the Fashion-MNIST space from scratch and keeps their accuracy in a file.

    python -m benchmarks.fashion_alone --data $NAS_DATA --architectures 24 --epochs 15 --out /tmp/alone.json

Goes on where it was stopped. ``benchmarks.fashion_recipes`` compares supernets with what is in the file.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from benchmarks.fashion import FashionSubset, fashion_network, spread_architectures
from nas.evaluation import Accuracy, SubnetCandidate
from nas.evaluation.from_scratch import fresh_network, train_from_scratch
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objectives import Bench
from nas.training import Recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--architectures", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    splits = FashionSubset(arguments.data).load()
    supernet = fresh_network(fashion_network, 0)
    recipe = Recipe(epochs=arguments.epochs, batch_size=128)
    rows = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    done = {(row["id"], row["seed"]) for row in rows}
    for seed in range(arguments.seeds):
        for architecture in spread_architectures(supernet, arguments.architectures, seed=0):
            if (architecture.id, seed) in done:
                continue
            begin = time.perf_counter()
            module = train_from_scratch(
                fashion_network,
                architecture,
                splits.train,
                splits.task,
                recipe,
                seed=seed,
                device=torch.device("cpu"),
            )
            seconds = time.perf_counter() - begin
            bench = Bench(splits.search, thorough=False, calibration={})
            accuracy = MeasuredQuality(Accuracy()).measure([SubnetCandidate(module, splits.inputs)], bench)[0]
            rows.append(
                {
                    "id": architecture.id,
                    "choices": dict(architecture),
                    "seed": seed,
                    "accuracy": accuracy.value,
                    "seconds": seconds,
                }
            )
            arguments.out.write_text(json.dumps(rows))
            print(f"seed {seed} {architecture.id} {accuracy.value:.4f} in {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
