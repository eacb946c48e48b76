"""Cost of one sandwich step against plain steps of the same four networks, extracted.

    python -m benchmarks.sandwich_cost --steps 20
    python -m benchmarks.sandwich_cost --profile

Both sides take everything that training takes: zeroing, forward, backward, clipping, AdamW. Seconds are the
process's CPU time, the smaller of two runs that take turns, so that other processes disturb little.
``--profile`` prints where one sandwich step spends its time, by operator.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.fashion import fashion_network
from nas.evaluation.from_scratch import fresh_network
from nas.supernet import Supernet
from nas.supernet.sandwich import draw_architectures, sandwich_step
from nas.tasks import Classification
from nas.training import Recipe, Step, make_supervised_step
from search_spaces.convnet import convnet

CLASSES = Classification(10)

RECIPE = Recipe(epochs=1)
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int], int]] = {
    "digits": (partial(convnet, classes=10, channels=1, resolution=8), (1, 8, 8), 64),
    "fashion": (fashion_network, (1, 28, 28), 128),
    "convnet 64 pixels": (partial(convnet, classes=10, channels=3, resolution=64), (3, 64, 64), 32),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["digits", "fashion"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.cases:
        make, shape, batch = CASES[name]
        supernet = fresh_network(make, 0).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        images = torch.randn(batch, *shape).contiguous(memory_format=torch.channels_last)
        labels = torch.randint(0, 10, (batch,))
        if arguments.profile:
            profile(supernet, images, labels)
            continue
        seconds = np.array(
            [compare_steps(supernet, images, labels, seed) for seed in range(arguments.steps)]
        )[1:]
        sandwich, plain = seconds.sum(axis=0)
        print(
            f"{name}, batch {batch}: sandwich {1e3 * sandwich / len(seconds):.1f} ms, four plain steps "
            f"{1e3 * plain / len(seconds):.1f} ms, ratio {sandwich / plain:.3f} "
            f"(median of steps {np.median(seconds[:, 0] / seconds[:, 1]):.3f})",
            flush=True,
        )


def compare_steps(supernet: Supernet, images: Tensor, labels: Tensor, seed: int) -> tuple[float, float]:
    """Return the seconds of a sandwich step, and of plain steps of its four networks."""
    architectures = [
        supernet.space.largest(),
        *draw_architectures(supernet, 2, torch.Generator().manual_seed(seed)),
        supernet.space.smallest(),
    ]
    together = updater(supernet, sandwich_step(supernet, CLASSES, RECIPE), images, labels, seed)
    networks = [supernet.extract(a).to(memory_format=torch.channels_last).train() for a in architectures]  # type: ignore[call-overload]
    alone = [updater(n, make_supervised_step(n, CLASSES, RECIPE), images, labels, seed) for n in networks]
    runs = []
    for _ in range(3):  # the first pays for what torch allocates and chooses once
        runs.append((measure_cpu_seconds([together]), measure_cpu_seconds(alone)))
    return min(run[0] for run in runs[1:]), min(run[1] for run in runs[1:])


def updater(model: nn.Module, step: Step, images: Tensor, labels: Tensor, seed: int) -> Callable[[], None]:
    """Return what trains ``model`` on one batch, as the training loop does."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def update() -> None:
        optimizer.zero_grad(set_to_none=True)
        for loss in step(images, labels, torch.Generator().manual_seed(seed)):
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), RECIPE.max_grad_norm)
        optimizer.step()

    return update


def measure_cpu_seconds(updates: list[Callable[[], None]]) -> float:
    """Return the CPU seconds of this process."""
    begin = time.process_time()
    for update in updates:
        update()
    return time.process_time() - begin


def profile(supernet: Supernet, images: Tensor, labels: Tensor) -> None:
    """Print the operators that a sandwich step spends most time in."""
    update = updater(supernet, sandwich_step(supernet, CLASSES, RECIPE), images, labels, 0)
    update()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorded:
        for _ in range(3):
            update()
    print(
        recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=22, max_name_column_width=50)
    )


if __name__ == "__main__":
    main()
