"""LSTMs with ternary and binary weights beside full precision, each with batch norm inside and without.

    python -m benchmarks.low_bit_recurrent --data $NAS_DATA

All start from the same initial weights and are trained for as many epochs by one recipe: on digits, read by their
rows, and on sentences of SST-2, read word by word. Bytes are of all numbers in the ONNX file other than embeddings, and
of the whole file, packed where weights are of few bits; those of wider layers, untrained, come first. Settings were
chosen on the search split; accuracy is on the test split.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from torch import nn

from nas import Architecture, Recipe
from nas.compression.half import Half
from nas.compression.low_bit_recurrent import (
    LowBitRecurrent,
    keep_nearest,
    replace_recurrent,
    sample_weights,
)
from nas.compression.normed_recurrent import StepNorm
from nas.compression.onnx_files import onnx_of
from nas.compression.packed_file import PackedFile
from nas.compression.pipeline import CompressionPass, Lab, Model
from nas.data import Digits, TextTable
from nas.evaluation.from_scratch import fresh_module
from nas.evaluation.stored import count_stored_bytes
from nas.inputs import InputSpec, call_network, place_inputs
from nas.splits import Split, Splits
from nas.supernet.recalibrate import recalibrate_on
from nas.training import make_supervised_step, train
from search_spaces.recurrent import recurrent_rows, recurrent_text

CPU = torch.device("cpu")
KINDS = {"full precision": 32, "ternary": 2, "binary": 1}
ONE_LAYER = {"cell": "lstm", "layers": 1, "directions": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=None, help="Folder that holds text/sst2; digits alone without."
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--epochs", type=int, nargs=2, default=[24, 2], help="On the digits, and on SST-2.")
    parser.add_argument("--steps", type=int, nargs="+", default=[8], help="With statistics of their own.")
    parser.add_argument("--rate", type=float, default=4e-3, help="Highest learning rate.")
    parser.add_argument("--split", choices=("search", "test"), default="test")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for width in (32, 128, 512):
        print_sizes(width, arguments.steps[0])
    recipe = Recipe(arguments.epochs[0], batch_size=64, learning_rate=arguments.rate)
    compare("digits by rows", Digits().load(), arguments, recipe)
    if arguments.data is not None:
        files = ("text/sst2/train.tsv", "text/sst2/test.tsv")
        text = TextTable(*files, root=arguments.data, max_words=8_000, max_length=24)
        recipe = Recipe(arguments.epochs[1], batch_size=128, learning_rate=arguments.rate)
        compare("SST-2, the first 24 words", text.load(), arguments, recipe)


class Outputs(nn.Module):
    """What a layer of LSTM gives at its steps, as many features as it takes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.LSTM(width, width, batch_first=True)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        """``(n, steps, width)``, unchanged."""
        outputs: torch.Tensor = self.layer(steps)[0]
        return outputs


def print_sizes(width: int, steps: int) -> None:
    """Print the bytes of a layer's file, of any numbers, for each kind of weights."""
    form = InputSpec.of_one((8, width))
    told = [f"float32 {sizes(Model(form, Outputs(width)))}"]
    for kind, bits in list(KINDS.items())[1:]:
        network = Outputs(width)
        cells = replace_recurrent(network, steps)
        sample_weights(cells, bits)
        for norm in (m for m in network.modules() if isinstance(m, StepNorm)):
            for tensor in (*norm.parameters(), norm.running_mean, norm.running_var):
                nn.init.uniform_(tensor)  # any numbers, which no file holds in a few bits
        network.eval()
        keep_nearest(cells)
        told += [
            f"{kind} {sizes(Model(form, network))}",
            f"with Half() {sizes(Model(form, network), Half())}",
        ]
    print(
        f"{width} units, 8 steps of {width} features, {steps} of own statistics: {', '.join(told)}",
        flush=True,
    )


def compare(task: str, splits: Splits, arguments: argparse.Namespace, recipe: Recipe) -> None:
    """Print what each kind of weights reaches, with batch norm of each number of steps and without."""
    print(f"\n{task}: one layer of {arguments.width}, {recipe.epochs} epochs", flush=True)
    for kind, bits in KINDS.items():
        for steps in (*arguments.steps, 0):
            begin, found = time.process_time(), list[float]()
            for seed in arguments.seeds:
                model = train_network(
                    initial(splits, arguments.width, seed), bits, steps, splits, recipe, seed
                )
                found.append(accuracy(model, getattr(splits, arguments.split)))
            norm = f"batch norm of {steps} steps" if steps else "no batch norm"
            spread = statistics.stdev(found) if len(found) > 1 else float("nan")
            print(
                f"{kind:15s} {norm:23s} {100 * statistics.mean(found):5.1f} % ± {100 * spread:.1f}   "
                f"{[round(100 * one, 1) for one in found]} {sizes(model)} {time.process_time() - begin:.0f} s",
                flush=True,
            )


def initial(splits: Splits, width: int, seed: int) -> Model:
    """Return an untrained network of one layer."""
    if splits.vocabulary:
        network, own = partial(recurrent_text, 2, len(splits.vocabulary)), {"embedding": 32}
    else:
        network, own = partial(recurrent_rows, 10), {}
    architecture = Architecture({**ONE_LAYER, **own, "width": width})
    return Model(splits.inputs, fresh_module(network, architecture, seed).eval())


def train_network(model: Model, bits: int, steps: int, splits: Splits, recipe: Recipe, seed: int) -> Model:
    """Return a network after training with weights of so many bits."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(splits.train, splits.task, recipe, CPU, seed, Path(folder))
        if bits < 32:
            return LowBitRecurrent(bits, steps).apply(model, {}, lab)
    module = model.module
    assert module is not None
    if steps:
        with torch.random.fork_rng([]):
            replace_recurrent(module, steps)
    train(
        module, make_supervised_step(module, splits.task, recipe), splits.train, recipe, seed=seed, device=CPU
    )
    recalibrate_on(module, splits.train, CPU)
    return Model(model.inputs, module.eval())


@torch.no_grad()
def accuracy(model: Model, split: Split) -> float:
    assert model.module is not None
    outputs = call_network(model.module, place_inputs(split.batch(slice(0, len(split))), CPU))
    return float((outputs.argmax(1) == split.targets).double().mean())


def sizes(model: Model, *behind: CompressionPass) -> str:
    """Return the bytes of all numbers but embeddings, and of the file, after packing and other passes on the file."""
    assert model.module is not None
    lab = Lab(None, None, None, CPU, 0, Path())  # type: ignore[arg-type] # nothing is trained
    packed = model
    for one in (PackedFile(), *behind):
        packed = one.apply(packed, {}, lab)
    content = onnx_of(packed)
    embeddings = sum(
        layer.weight.numel() for layer in model.module.modules() if isinstance(layer, nn.Embedding)
    )
    return f"{count_stored_bytes(content) - 4 * embeddings:,} of {len(content):,} bytes"


if __name__ == "__main__":
    main()
