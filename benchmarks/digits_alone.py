"""Trains architectures of the digits study's space from scratch and keeps how good they are in a file.

    python -m benchmarks.digits_alone --architectures 40 --seeds 2 --out /tmp/digits_alone.json

Goes on where it was stopped. ``benchmarks.ranking`` compares supernets with what is in the file: architectures that
are evenly spaced in the logarithm of their MACs, from the smallest to 0.5 million, which few of the space exceed,
trained with the study's recipe. Accuracy and cross-entropy are of the search split, and under ``test`` of the test
split, which no search is told of.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import torch
from torch import nn

from benchmarks.fashion import spread_architectures
from nas.evaluation import NetworkCounter, SubnetCandidate
from nas.evaluation.from_scratch import fresh_network, train_from_scratch
from nas.splits import Split, Splits
from studies.digits import study

MOST_MACS = 5e5
"""Few architectures of the space have more: 6 % of those drawn at random, up to 1.5 million."""


def quality(module: nn.Module, split: Split, splits: Splits) -> dict[str, float]:
    """Return the accuracy and the mean cross-entropy of a classifier on a split."""
    outputs = SubnetCandidate(module, splits.inputs).predict(split.normalise(split.inputs))
    return {
        "accuracy": float((outputs.argmax(1) == split.targets).double().mean()),
        "loss": float(nn.functional.cross_entropy(outputs.double(), split.targets)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=study().recipe.epochs)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    digits = study()
    recipe = dataclasses.replace(digits.recipe, epochs=arguments.epochs)
    splits = digits.data.load()
    supernet = fresh_network(digits.network, 0)
    counter = NetworkCounter(supernet, splits.inputs)
    spread = spread_architectures(supernet, arguments.architectures, 0, counter, MOST_MACS)
    rows = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    done = {(row["id"], row["seed"]) for row in rows}
    for architecture in (*spread[::2], *spread[1::2]):  # stopped early, it has seen all sizes
        for seed in range(arguments.seeds):
            if (architecture.id, seed) in done:
                continue
            begin = time.process_time()
            module = train_from_scratch(
                digits.network,
                architecture,
                splits.train,
                splits.task,
                recipe,
                seed=seed,
                device=torch.device("cpu"),
            )
            found = quality(module, splits.search, splits)
            rows.append(
                {
                    "id": architecture.id,
                    "choices": dict(architecture),
                    "macs": int(counter.counts(supernet.space.indices([architecture])).macs[0]),
                    "seed": seed,
                    **found,
                    "test": quality(module, splits.test, splits),
                    "seconds": time.process_time() - begin,
                }
            )
            arguments.out.write_text(json.dumps(rows))
            print(f"seed {seed} {architecture.id} {found} in {rows[-1]['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
