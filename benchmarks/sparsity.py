"""LeNet-300-100 on Fashion-MNIST with a tenth and a fiftieth of its weights: RigL, gradual pruning, a static mask.

    python -m benchmarks.sparsity --data $NAS_DATA --seeds 3

All begin with the same random weights and are trained for as many epochs with the same recipe, on the whole training
part; the shares of the layers are those of ERK. A static mask of random weights is the control. Also prints what the
files take, dense and sparse, as they are and zipped, and how long ONNX Runtime takes for one image: nothing is faster.
``--items`` takes the first so many images; 12,000 of them, 10 epochs and three seeds took 22 minutes beside other jobs.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn
from torchvision.datasets import FashionMNIST

from nas import Recipe
from nas.compression.pipeline import Lab, Model
from nas.compression.schedules import Gradual, MaskSchedule, RigL, StaticMask
from nas.compression.sparse_file import SparseFile
from nas.compression.sparsify import Sparsify
from nas.evaluation.onnx_export import export_onnx
from nas.inputs import InputSpec
from nas.splits import Split
from nas.tasks import Classification
from nas.training import make_supervised_step, train

CLASSES = Classification(10)
CPU = torch.device("cpu")
SPEC = InputSpec.of_one((784,))
SCHEDULES: tuple[MaskSchedule, ...] = (RigL(begin_with="random"), Gradual(), StaticMask("random"))
PIXELS = (0.2860, 0.3530)
"""Mean and standard deviation of the training images."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--items", type=int, default=60_000)
    parser.add_argument("--keep", type=float, nargs="+", default=[0.1, 0.02])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    learn, judge = (images(arguments.data, train=part) for part in (True, False))
    learn = Split(learn.inputs[: arguments.items], learn.targets[: arguments.items])
    recipe = Recipe(epochs=arguments.epochs, batch_size=128, learning_rate=2e-3, label_smoothing=0.0)
    print(
        f"{len(learn):,} images, {arguments.epochs} epochs, {arguments.seeds} seeds, torch {torch.__version__}"
    )
    found: dict[str, list[float]] = {}
    begin = time.perf_counter()
    models: dict[str, nn.Module] = {}
    for seed in range(arguments.seeds):
        for name, made in variants(learn, recipe, seed, arguments.keep):
            found.setdefault(name, []).append(accuracy(made, judge))
            models[name] = made
            print(
                f"# seed {seed}: {name}: {found[name][-1]:.4f}, {time.perf_counter() - begin:.0f} s",
                flush=True,
            )
    print("| weights | test accuracy, % | by seed |\n|---|---|---|")
    for name, values in found.items():
        spread = f" ± {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
        by_seed = ", ".join(f"{100 * value:.2f}" for value in values)
        print(f"| {name} | {100 * np.mean(values):.2f}{spread} | {by_seed} |")
    print("\n| file | bytes | zipped | sparse, bytes | sparse, zipped | µs, dense / sparse file |")
    print("|---|---|---|---|---|---|")
    for name, module in models.items():
        print(f"| {name} | {describe(module)} |", flush=True)


def variants(learn: Split, recipe: Recipe, seed: int, shares: list[float]) -> Iterator[tuple[str, nn.Module]]:
    """Yield trained networks: the dense one, then by share and schedule."""
    dense = lenet(seed)
    train(dense, make_supervised_step(dense, CLASSES, recipe), learn, recipe, seed=seed, device=CPU)
    yield "dense", dense
    for keep in shares:
        for schedule in SCHEDULES:
            with tempfile.TemporaryDirectory() as folder:
                lab = Lab(learn, CLASSES, recipe, CPU, seed, Path(folder))
                model = Sparsify(keep, schedule).apply(Model(SPEC, lenet(seed)), {}, lab)
            assert model.module is not None
            yield f"{keep:.0%}, {schedule.name}", model.module


def lenet(seed: int) -> nn.Module:
    """Return the perceptron 784-300-100-10 with weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
        ).eval()


def images(root: Path, *, train: bool) -> Split:
    """Return the images as rows of normalised pixels."""
    whole = FashionMNIST(str(root), train=train, download=False)
    mean, std = PIXELS
    return Split((whole.data.flatten(1).float() / 255 - mean) / std, whole.targets)


def accuracy(module: nn.Module, data: Split) -> float:
    """Return the share of items that are classified right."""
    assert isinstance(data.inputs, torch.Tensor)
    with torch.no_grad():
        return float((module.eval()(data.inputs).argmax(1) == data.targets).double().mean())


def describe(module: nn.Module) -> str:
    """Return bytes and microseconds of a network's files, in cells."""
    plain = Model(SPEC, module, export_onnx(module, SPEC))
    lab = Lab(Split(torch.empty(0), torch.empty(0)), CLASSES, Recipe(epochs=1), CPU, 0, Path())
    sparse = SparseFile().apply(dataclasses.replace(plain), {}, lab)
    assert plain.onnx is not None
    assert sparse.onnx is not None
    sizes = [n for file in (plain.onnx, sparse.onnx) for n in (len(file), len(zlib.compress(file, 9)))]
    times = " / ".join(f"{microseconds(file):.0f}" for file in (plain.onnx, sparse.onnx))
    return " | ".join([*(f"{size:,}" for size in sizes), times])


def microseconds(file: bytes) -> float:
    """Return the median time of one image."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feed = {"images": np.zeros((1, 784), np.float32)}
    taken = []
    for _ in range(2000):
        begin = time.perf_counter()
        session.run(None, feed)
        taken.append(time.perf_counter() - begin)
    return 1e6 * float(np.median(taken))


if __name__ == "__main__":
    main()
