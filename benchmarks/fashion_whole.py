"""The best network of 5 million MACs that one core finds in two hours on the whole of Fashion-MNIST.

    python -m benchmarks.fashion_whole --data $NAS_DATA --out runs/fashion-whole

``studies/fashion_mnist.py`` with all 60,000 images to train and search with and all 10,000 to test, at most 5 million
MACs, twice the widths, a single path's training, and fewer epochs and evaluations. Prints what the run spent on what,
and each winner's accuracy on the test split. Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from functools import partial
from pathlib import Path

import torch

from nas import Macs, SinglePath
from nas.objectives import Constraint
from nas.runner import run
from nas.runner.progress import Silent
from nas.study import Trust
from search_spaces.convnet import convnet
from studies.fashion_mnist import study

_MOST_MACS = 5e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8, help="Of the supernet.")
    parser.add_argument("--evaluations", type=int, default=150)
    parser.add_argument("--winners", type=int, default=1)
    parser.add_argument("--scale", type=float, default=2.0, help="Of all widths of the space.")
    parser.add_argument("--fine-tuning-epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("runs/fashion-whole"))
    arguments = parser.parse_args()
    os.environ["NAS_DATA"] = str(arguments.data)
    torch.set_num_threads(1)
    whole = study(
        epochs=arguments.epochs,
        evaluations=arguments.evaluations,
        winners=arguments.winners,
        fine_tuning_epochs=arguments.fine_tuning_epochs,
    )
    asked = dataclasses.replace(
        whole,
        network=partial(convnet, classes=10, channels=1, resolution=28, scale=arguments.scale),
        training=SinglePath(),
        constraints=(Constraint(Macs(), _MOST_MACS),),
        trust=Trust(count=0),
    )
    results = run(asked, arguments.out, training_device=torch.device("cpu"), progress=Silent())
    seconds = {stage: round(spent) for stage, spent in results.facts["seconds"].items()}
    print(f"seconds by the clock: {seconds}")
    print("| winner | variant | MACs | parameters | test accuracy |\n|---|---|---|---|---|")
    for winner in results.winners:
        for variant in winner.variants:
            accuracy = variant.values["accuracy"].value
            print(
                f"| {winner.id} | {variant.name} | {winner.macs:,} | {winner.num_params:,} | {accuracy:.4f} |"
            )


if __name__ == "__main__":
    main()
