"""LSTMs with ternary and binary weights beside full precision, each with batch norm inside and without.

    python -m benchmarks.low_bit_recurrent --data $NAS_DATA

All start from the same initial weights and are trained for as many epochs by one recipe: on digits, read by their
rows, and on sentences of SST-2, read word by word. Bytes are of all numbers in the ONNX file other than embeddings, and
of the whole file, packed where weights are of few bits. Settings were chosen on the search split; accuracy is on the
test split.
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
from nas.compression.low_bit_recurrent import LowBitRecurrent, replace_recurrent
from nas.compression.onnx_files import onnx_of
from nas.compression.packed_file import PackedFile
from nas.compression.pipeline import Lab, Model
from nas.data import Digits, TextTable
from nas.evaluation.from_scratch import fresh_module
from nas.evaluation.stored import stored_bytes
from nas.inputs import call_network, place_inputs
from nas.protocols import Split, Splits
from nas.supernet.recalibrate import recalibrate_on
from nas.training import supervised_step, train
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
    parser.add_argument("--epochs", type=int, nargs=2, default=[40, 5], help="On the digits, and on SST-2.")
    parser.add_argument("--steps", type=int, nargs="+", default=[8], help="With statistics of their own.")
    parser.add_argument("--rate", type=float, default=4e-3, help="Highest learning rate.")
    parser.add_argument("--split", choices=("search", "test"), default="test")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    compare("digits by rows", Digits().load(), arguments, arguments.epochs[0])
    if arguments.data is not None:
        text = TextTable("text/sst2/train.tsv", "text/sst2/test.tsv", root=arguments.data, max_words=8_000)
        compare("SST-2", text.load(), arguments, arguments.epochs[1])


def compare(task: str, splits: Splits, arguments: argparse.Namespace, epochs: int) -> None:
    """Print what each kind of weights reaches, with batch norm of each number of steps and without."""
    recipe = Recipe(epochs, batch_size=64, learning_rate=arguments.rate)
    print(f"\n{task}: one layer of {arguments.width}, {epochs} epochs", flush=True)
    for kind, bits in KINDS.items():
        for steps in (*arguments.steps, 0):
            begin, found = time.process_time(), list[float]()
            for seed in arguments.seeds:
                model = trained(initial(splits, arguments.width, seed), bits, steps, splits, recipe, seed)
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


def trained(model: Model, bits: int, steps: int, splits: Splits, recipe: Recipe, seed: int) -> Model:
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
    train(module, supervised_step(module, splits.task, recipe), splits.train, recipe, seed=seed, device=CPU)
    recalibrate_on(module, splits.train, CPU)
    return Model(model.inputs, module.eval())


@torch.no_grad()
def accuracy(model: Model, split: Split) -> float:
    assert model.module is not None
    outputs = call_network(model.module, place_inputs(split.batch(slice(0, len(split))), CPU))
    return float((outputs.argmax(1) == split.targets).double().mean())


def sizes(model: Model) -> str:
    """Return the bytes of all numbers but embeddings, and of the file, after packing."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(None, None, None, CPU, 0, Path(folder))  # type: ignore[arg-type] # nothing is trained
        content = onnx_of(PackedFile().apply(model, {}, lab))
    assert model.module is not None
    embeddings = sum(
        layer.weight.numel() for layer in model.module.modules() if isinstance(layer, nn.Embedding)
    )
    return f"{stored_bytes(content) - 4 * embeddings:,} of {len(content):,} bytes"


if __name__ == "__main__":
    main()
