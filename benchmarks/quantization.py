"""Quantization-aware training against post-training int8 at equal epochs, and a table of all passes that quantize.

    python -m benchmarks.quantization --data $NAS_DATA --seeds 5

Each network is trained as ``--epochs`` says, and goes on for as many epochs as ``--more`` says: plainly, or with int8
simulated, from the same weights, with the same recipe, seed and batches. Both become int8 by the same pass, and are
judged on the test split by ONNX Runtime. Digits: the largest convnet of the demo; Fashion-MNIST: 6,000 images to train,
2,000 to judge. Then every pass on one network each: bytes of all stored numbers, time as a ratio to the float file's,
in turns in this process, one thread, and quality on the test split.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.fashion import FashionSubset, fashion_network
from nas.compression.onnx_files import onnx_of
from nas.compression.onnx_int8 import calibration_batches, quantize
from nas.compression.pipeline import Lab, Model
from nas.compression.qat import Qat
from nas.compression.reduced_range import needs_reduced_range
from nas.data import Digits
from nas.evaluation.candidate import open_session
from nas.evaluation.from_scratch import fresh_network
from nas.evaluation.machine import processor_name
from nas.evaluation.onnx_export import feed_of
from nas.protocols import Split, Splits
from nas.supernet.recalibrate import recalibrate_on
from nas.training import Recipe, train
from nas.training.steps import supervised_step
from search_spaces.convnet import convnet

CPU = torch.device("cpu")
STUDENT_T = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 8: 2.36, 10: 2.26}
"""Two-sided 95 % points by the number of seeds."""


@dataclass(frozen=True)
class Subject:
    """A network and the data that it is trained on."""

    name: str
    network: Callable[[], nn.Module]
    load: Callable[[], Splits]
    recipe: Recipe


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5, choices=STUDENT_T)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--more", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{processor_name()}; weights give up a bit: {needs_reduced_range()}", flush=True)
    recipe = Recipe(epochs=arguments.epochs)
    digits = Subject("digits", partial(convnet, classes=10, channels=1, resolution=8), Digits().load, recipe)
    fashion = Subject(
        "Fashion-MNIST", fashion_network, FashionSubset(arguments.data).load, replace(recipe, batch_size=128)
    )
    for subject in (digits, fashion):
        compare_training(subject, arguments.seeds, arguments.more)


def compare_training(subject: Subject, seeds: int, more: int) -> None:
    """Print the quality in float and in int8 after the same epochs, with int8 simulated or not."""
    splits = subject.load()
    rows = []
    for seed in range(seeds):
        lab = lab_of(splits, replace(subject.recipe, epochs=more, learning_rate=1e-3), seed)
        module = trained(subject, splits, seed)
        plain = Model(splits.inputs, went_on(module, lab))
        with tempfile.TemporaryDirectory() as folder:
            simulated = Qat().apply(Model(splits.inputs, module), {}, replace(lab, folder=Path(folder)))
        rows.append(
            [
                q
                for model in (Model(splits.inputs, module), plain, simulated)
                for q in qualities(model, splits)
            ]
        )
        print(f"{subject.name}, seed {seed}: " + " ".join(f"{100 * q:.2f}" for q in rows[-1]), flush=True)
    found = 100 * np.array(rows)
    names = ("before", f"{more} epochs more", f"{more} epochs more with int8 simulated")
    for number, name in enumerate(names):
        columns = (found[:, 2 * number], found[:, 2 * number + 1])
        print(f"{subject.name}, {name}: float {spread(columns[0])}, int8 {spread(columns[1])} % right")
    gain = found[:, 5] - found[:, 3]
    error = STUDENT_T[seeds] * gain.std(ddof=1) / math.sqrt(seeds)
    print(
        f"{subject.name}: QAT against post-training int8 {gain.mean():+.2f} ± {error:.2f} points (95 %, paired)",
        flush=True,
    )


def spread(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"


def trained(subject: Subject, splits: Splits, seed: int) -> nn.Module:
    """Return the largest network, trained from scratch."""
    supernet = fresh_network(subject.network, seed)
    module = supernet.extract(supernet.space.largest())
    step = supervised_step(module, splits.task, subject.recipe)
    train(module, step, splits.train, subject.recipe, seed=seed, device=CPU)
    recalibrate_on(module, splits.train, CPU)
    return module.eval()


def went_on(module: nn.Module, lab: Lab) -> nn.Module:
    """Return a copy that was trained as the lab says: what fine-tuning does."""
    copied = fresh_copy(module)
    step = supervised_step(copied, lab.task, lab.recipe)
    train(copied, step, lab.train, lab.recipe, seed=lab.seed, device=CPU)
    recalibrate_on(copied, lab.train, CPU)
    return copied.eval()


def fresh_copy(module: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(module)


def lab_of(splits: Splits, recipe: Recipe, seed: int) -> Lab:
    return Lab(splits.train, splits.task, recipe, CPU, seed, Path())


def qualities(model: Model, splits: Splits) -> tuple[float, float]:
    """Return the share of test items that are right, in float and in int8."""
    content = onnx_of(model)
    batches = calibration_batches(splits.train, 512)
    rounded = quantize(content, batches, reduce_range=needs_reduced_range())
    return quality(content, splits.test), quality(rounded, splits.test)


def quality(content: bytes, split: Split) -> float:
    session = open_session(content)
    names = [entry.name for entry in session.get_inputs()]
    outputs = [session.run(None, feed_of(names, batch))[0] for batch in split.batches(256)]
    return float((torch.from_numpy(np.concatenate(outputs)).argmax(1) == split.targets).float().mean())


if __name__ == "__main__":
    main()
