"""Quantization-aware training against post-training int8 at equal epochs, and a table of all passes that quantize.

    python -m benchmarks.quantization --data $NAS_DATA --seeds 5

Each network is trained as ``--epochs`` says, and goes on for as many epochs as ``--more`` says: plainly, or with int8
simulated, from the same weights, with the same recipe, seed and batches. Both become int8 by the same pass, and are
judged on the test split by ONNX Runtime. Digits: the largest convnet of the demo; Fashion-MNIST: a middle one, 2,000
images to train, 2,000 to judge. Then every pass on one network each: bytes of all stored numbers, time as a ratio to
the float file's, in turns in this process, one thread, and quality on the test split.
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.fashion import FashionSubset, fashion_network
from nas.compression.cluster import Cluster
from nas.compression.half import Half
from nas.compression.onnx_files import onnx_of
from nas.compression.onnx_int8 import calibration_batches, quantize
from nas.compression.pipeline import CompressionPass, Lab, Model
from nas.compression.qat import Qat
from nas.compression.reduced_range import needs_reduced_range
from nas.compression.selective import SelectiveInt8
from nas.compression.weight_only import WeightOnly
from nas.data import Digits, TextTable
from nas.devices.machine import processor_name
from nas.devices.onnx_runtime import open_session
from nas.errors import ExportError
from nas.evaluation import LatencyMs
from nas.evaluation.from_scratch import fresh_network
from nas.evaluation.onnx_export import feed_of
from nas.evaluation.stored import count_stored_bytes
from nas.inputs import Inputs
from nas.objectives import Bench
from nas.splits import DataSource, Split, Splits
from nas.supernet.recalibrate import recalibrate_on
from nas.training import Recipe, train
from nas.training.steps import make_supervised_step
from search_spaces.convnet import convnet
from search_spaces.resnet import resnet
from search_spaces.text_transformer import text_transformer

WORDS, LENGTH = 8_000, 48
CPU = torch.device("cpu")
WORDS, LENGTH = 8_000, 48
STUDENT_T = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 8: 2.36, 10: 2.26}
"""Two-sided 95 % points by the number of seeds."""


@dataclass(frozen=True)
class Subject:
    """A network and the data that it is trained on."""

    name: str
    network: Callable[[], nn.Module]
    load: Callable[[], Splits]
    recipe: Recipe
    size: str


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5, choices=STUDENT_T)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--more", type=int, default=4)
    parser.add_argument("--only", choices=("digits", "fashion", "passes"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    print(f"{processor_name()}; weights give up a bit: {needs_reduced_range()}", flush=True)
    recipe = Recipe(epochs=arguments.epochs)
    fashion = partial(shorter, FashionSubset(arguments.data))
    if arguments.only in (None, "digits"):
        network = partial(convnet, classes=10, channels=1, resolution=8)
        subject = Subject("digits", network, Digits().load, recipe, "largest")
        compare_training(subject, arguments.seeds, arguments.more)
    if arguments.only in (None, "fashion"):
        subject = Subject("Fashion-MNIST", fashion_network, fashion, recipe, "middle")
        compare_training(subject, arguments.seeds, arguments.more)
    if arguments.only in (None, "passes"):
        residual = partial(resnet, classes=10, channels=1, resolution=28)
        path = "text/sst2/{}.tsv".format
        texts = TextTable(path("train"), path("test"), arguments.data, max_length=LENGTH, max_words=WORDS)
        encoder = partial(text_transformer, classes=2, num_tokens=WORDS, length=LENGTH)
        slow = Recipe(epochs=2, learning_rate=1e-3, weight_decay=0.1)
        short = replace(recipe, epochs=3)
        compare_passes(Subject("inverted residuals", fashion_network, fashion, short, "largest"))
        compare_passes(Subject("residuals", residual, fashion, short, "smallest"))
        compare_passes(Subject("Transformer", encoder, texts.load, slow, "middle"))


def shorter(source: DataSource) -> Splits:
    """Return a data set with 2,000 training images: enough to tell int8 from float, in minutes."""
    splits = source.load()
    return replace(splits, train=splits.train.subset(torch.arange(2_000)))


def compare_training(subject: Subject, seeds: int, more: int) -> None:
    """Print the quality in float and in int8 after the same epochs, with int8 simulated or not."""
    splits = subject.load()
    rows = []
    for seed in range(seeds):
        lab = lab_of(splits, replace(subject.recipe, epochs=more, learning_rate=1e-3), seed)
        given = Model(splits.inputs, train_network(subject, splits, seed))
        plain = Model(splits.inputs, went_on(given.module, lab))
        with tempfile.TemporaryDirectory() as folder:
            simulated = Qat().apply(given, {}, replace(lab, folder=Path(folder)))
        rows.append([value for model in (given, plain, simulated) for value in qualities(model, splits)])
        print(f"{subject.name}, seed {seed}: " + " ".join(f"{100 * q:.2f}" for q in rows[-1]), flush=True)
    found = 100 * np.array(rows)
    for number, name in enumerate(
        ("before", f"{more} epochs more", f"{more} epochs more with int8 simulated")
    ):
        columns = spread(found[:, 2 * number]), spread(found[:, 2 * number + 1])
        print(f"{subject.name}, {name}: float {columns[0]}, int8 {columns[1]} % right")
    gain = found[:, 5] - found[:, 3]
    error = STUDENT_T[seeds] * gain.std(ddof=1) / math.sqrt(seeds)
    told = f"{gain.mean():+.2f} ± {error:.2f} points (95 %, paired)"
    print(f"{subject.name}: QAT against post-training int8 {told}", flush=True)


def spread(values: np.ndarray) -> str:
    """Return mean and standard deviation."""
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"


PASSES: dict[str, CompressionPass] = {
    "SelectiveInt8()": SelectiveInt8(),
    "Half()": Half(),
    "Half(computes=True)": Half(computes=True),
    "Cluster(bits=8)": Cluster(bits=8),
    "Cluster(bits=4)": Cluster(bits=4),
    "WeightOnly(bits=8)": WeightOnly(bits=8),
    "WeightOnly(bits=4)": WeightOnly(bits=4),
}


def compare_passes(subject: Subject) -> None:
    """Print bytes, time and quality of what each pass makes of one trained network."""
    splits = subject.load()
    module = train_network(subject, splits, 0)
    given = onnx_of(Model(splits.inputs, module))
    batches = calibration_batches(splits.train, 512)
    files = {"float32": given, "Int8()": quantize(given, batches, reduce_range=needs_reduced_range())}
    files["Int8(reduce_range=False)"] = quantize(given, batches, reduce_range=False)
    seconds = {}
    for name, made in PASSES.items():
        begin = time.perf_counter()
        try:
            after = made.apply(Model(splits.inputs, module, given), {}, lab_of(splits, subject.recipe, 0))
        except ExportError as error:
            print(f"{subject.name}, {name}: {error}")
            continue
        seconds[name] = time.perf_counter() - begin
        files[name] = onnx_of(after)
        print(f"{subject.name}, {name}: {after.applied[-1]}", flush=True)
    latency = LatencyMs(long_seconds=1.0)
    bench = Bench(splits.test, thorough=True, calibration=latency.calibrate())
    found = latency.measure([InMemory(content, splits) for content in files.values()], bench)
    print(f"{subject.name}: float32 takes {found[0].value:.3f} ms")
    print("| network | pass | stored bytes | file | time | % right | seconds of the pass |")
    for (name, content), time_ms in zip(files.items(), found, strict=True):
        ratio = f"{time_ms.value / found[0].value:.2f} ± {time_ms.spread / found[0].value:.2f}"
        right = f"{100 * quality(content, splits.test):.2f}"
        sizes = f"{count_stored_bytes(content):,} | {len(content):,}"
        print(
            f"| {subject.name} | {name} | {sizes} | {ratio} | {right} | {seconds.get(name, 0):.1f} |",
            flush=True,
        )


class InMemory:
    """A candidate that is its ONNX model alone."""

    def __init__(self, content: bytes, splits: Splits) -> None:
        self.onnx_model, self.inputs = content, splits.inputs

    def predict(self, inputs: Inputs) -> Tensor:
        """Nobody asks."""
        raise NotImplementedError


def train_network(subject: Subject, splits: Splits, seed: int) -> nn.Module:
    """Return the largest network, the smallest, or one of middle options, trained from scratch."""
    supernet = fresh_network(subject.network, seed)
    space = supernet.space
    middle = space.architecture({c.name: c.options[len(c.options) // 2] for c in space.choices})
    sizes = {"smallest": space.smallest(), "middle": middle, "largest": space.largest()}
    module = supernet.extract(sizes[subject.size])
    step = make_supervised_step(module, splits.task, subject.recipe)
    train(module, step, splits.train, subject.recipe, seed=seed, device=CPU)
    recalibrate_on(module, splits.train, CPU)
    return module.eval()


def went_on(module: nn.Module | None, lab: Lab) -> nn.Module:
    """Return a copy that was trained as the lab says: what fine-tuning does."""
    assert module is not None
    copied = copy.deepcopy(module)
    step = make_supervised_step(copied, lab.task, lab.recipe)
    train(copied, step, lab.train, lab.recipe, seed=lab.seed, device=CPU)
    recalibrate_on(copied, lab.train, CPU)
    return copied.eval()


def lab_of(splits: Splits, recipe: Recipe, seed: int) -> Lab:
    return Lab(splits.train, splits.task, recipe, CPU, seed, Path())


def qualities(model: Model, splits: Splits) -> tuple[float, float]:
    """Return the share of test items that are right, in float and in int8."""
    content = onnx_of(model)
    rounded = quantize(content, calibration_batches(splits.train, 512), reduce_range=needs_reduced_range())
    return quality(content, splits.test), quality(rounded, splits.test)


def quality(content: bytes, split: Split) -> float:
    """Return the share of items that are right."""
    session = open_session(content)
    names = [entry.name for entry in session.get_inputs()]
    outputs = [session.run(None, feed_of(names, batch))[0] for batch in split.batches(256)]
    return float((torch.from_numpy(np.concatenate(outputs)).argmax(1) == split.targets).float().mean())


if __name__ == "__main__":
    main()
