"""What networks gain from memory that the C library keeps from step to step, and what that takes.

    python -m benchmarks.kept_memory

Trains the largest networks of two spaces on random images of several sizes and evaluates them, with and without
``nas.training.kept_memory``, in turns and each time in a process of its own. Prints the medians of the processor's time
for a batch, and of the peak memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn

from benchmarks.sandwich_cost import CLASSES, RECIPE, measure_cpu_seconds, updater
from nas.evaluation.from_scratch import fresh_network
from nas.training import make_supervised_step
from nas.training.kept_memory import keep_freed_memory
from search_spaces.convnet import convnet
from search_spaces.resnet import resnet

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int, int]]] = {
    "convnet, digits": (partial(convnet, classes=10, channels=1, resolution=8), (64, 1, 8, 8)),
    "convnet, Fashion-MNIST": (partial(convnet, classes=10, channels=1, resolution=28), (128, 1, 28, 28)),
    "convnet, CIFAR-10": (partial(convnet, classes=10, channels=3, resolution=32), (128, 3, 32, 32)),
    "resnet, CIFAR-10": (partial(resnet, classes=10, channels=3, resolution=32), (128, 3, 32, 32)),
}
_WARM_UP = 2
"""Batches that aren't counted: in the first ones torch chooses and allocates."""


def measure_passes(name: str, trains: bool, kept: bool, batches: int) -> tuple[float, float]:
    """Return the median milliseconds of a batch, and the peak of the process's memory in MiB."""
    torch.set_num_threads(1)
    if kept:
        keep_freed_memory()
    make, shape = CASES[name]
    supernet = fresh_network(make, 0)
    network = supernet.extract(supernet.space.largest()).to(memory_format=torch.channels_last).train(trains)  # type: ignore[call-overload]
    images = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, shape[:1])

    @torch.inference_mode()
    def evaluate() -> None:
        network(images)

    step = make_supervised_step(network, CLASSES, RECIPE)
    do = updater(network, step, images, labels, 0) if trains else evaluate
    seconds = [measure_cpu_seconds([do]) for _ in range(batches + _WARM_UP)][_WARM_UP:]
    return 1e3 * float(np.median(seconds)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=8, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    arguments = parser.parse_args()
    print(
        "| largest network | ms a batch, plain | kept | plain / kept | MiB, plain | kept |\n|---|---|---|---|---|---|"
    )
    for name, trains in ((name, trains) for name in arguments.cases for trains in (True, False)):
        found = np.zeros((arguments.rounds, 2, 2))
        for turn in range(arguments.rounds):
            for column, kept in enumerate((False, True)):
                with multiprocessing.get_context("spawn").Pool(1) as fresh:
                    found[turn, column] = fresh.apply(measure_passes, (name, trains, kept, arguments.batches))
        (plain_ms, plain_peak), (kept_ms, kept_peak) = np.median(found, axis=0)
        each = ", ".join(f"{ratio:.2f}" for ratio in found[:, 0, 0] / found[:, 1, 0])
        print(
            f"| {name}, {'trained' if trains else 'evaluated'} | {plain_ms:.1f} | {kept_ms:.1f} "
            f"| {plain_ms / kept_ms:.2f} ({each}) | {plain_peak:.0f} | {kept_peak:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
