"""Peak memory of training a supernet, against training its largest network alone.

Each runs in a process of its own, for a few steps of ordinary training (AdamW, clipping). What the process holds
before it makes the network (interpreter, torch, the images) is in both; the ratio is given with it and without.

    python -m benchmarks.supernet_memory
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torchvision import models

from nas.evaluation.from_scratch import fresh_network
from nas.splits import Split
from nas.supernet import elastic_module
from nas.supernet.sandwich import sandwich_step
from nas.tasks import Classification
from nas.training import Recipe, make_supervised_step, train
from search_spaces.convnet import convnet

CLASSES = Classification(10)


def resnet18() -> nn.Module:
    return elastic_module(models.resnet18(num_classes=10), torch.randn(2, 3, 32, 32))


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int], int]] = {
    "digits": (partial(convnet, classes=10, channels=1, resolution=8), (1, 8, 8), 64),
    "convnet 32 pixels": (partial(convnet, classes=10, channels=3, resolution=32), (3, 32, 32), 128),
    "resnet18 from_module, 32 pixels": (resnet18, (3, 32, 32), 64),
}


def child(case: str, whole: bool) -> None:
    """Train and print the peak before and after."""
    torch.set_num_threads(1)
    make, shape, batch = CASES[case]
    data = Split(torch.randn(3 * batch, *shape), torch.randint(0, 10, (3 * batch,)))
    recipe = Recipe(epochs=1, batch_size=batch)
    before = resident_mib()
    supernet = fresh_network(make, 0)
    model: nn.Module = supernet if whole else supernet.extract(supernet.space.largest())
    step = sandwich_step(supernet, CLASSES, recipe) if whole else make_supervised_step(model, CLASSES, recipe)
    del supernet
    gc.collect()
    reset_peak()
    train(model, step, data, recipe, seed=0, device=torch.device("cpu"))
    print(before, high_water_mib())


def _status(field: str) -> float:
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) / 1024


def resident_mib() -> float:
    return _status("VmRSS")


def high_water_mib() -> float:
    return _status("VmHWM")


def reset_peak() -> None:
    """Forget what making the network took (Linux)."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def measure_in_process(case: str, kind: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.supernet_memory", "--child", case, "--kind", kind]
    words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(words[-2]), float(words[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", choices=CASES)
    parser.add_argument("--kind", choices=("supernet", "largest"))
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.kind == "supernet")
        return
    for case in CASES:
        (base, whole), (_, alone) = (measure_in_process(case, kind) for kind in ("supernet", "largest"))
        print(
            f"{case}: supernet {whole:.0f} MiB, largest alone {alone:.0f} MiB, ratio {whole / alone:.2f}; "
            f"without the {base:.0f} MiB of the process itself {(whole - base) / (alone - base):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
