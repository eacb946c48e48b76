"""Block-circulant layers beside low rank and narrower layers of as many parameters, and what they cost to run.

    python -m benchmarks.circulant quality --data $NAS_DATA --seeds 5
    python -m benchmarks.circulant quality --seeds 5
    python -m benchmarks.circulant latency

``quality``: a perceptron of 256-256 on images of Fashion-MNIST, or without ``--data`` a network like the largest of
``search_spaces.circulant_cnn`` on the digits, is trained; for each k it is projected onto blocks of k and fine-tuned.
Beside it: low rank with at most as many parameters, fine-tuned as long; a narrower network with at most as many,
trained from scratch for as many epochs as both took together; and the block-circulant one from scratch as well.
``latency``: one square layer in ONNX Runtime, dense, block-circulant, and multiplied in the frequency domain, in turns.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from benchmarks.fashion import FashionSubset
from nas import Recipe
from nas.compression import Circulant, CompressionPass, FineTune, Lab, LowRank, Model
from nas.data import Digits
from nas.devices import OnnxRuntime
from nas.evaluation.counts import count_params
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.reinitialize import reinitialize
from nas.evaluation.turns import time_in_turns
from nas.inputs import InputSpec
from nas.splits import Split, Splits
from nas.supernet.circulant_layers import CirculantLinear
from nas.training import make_supervised_step, train

CPU = torch.device("cpu")
SIZES = (2, 4, 8, 16)
RATE = 2e-3
"""Of all trainings, so that none has the better one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("quality", "latency"))
    parser.add_argument("--data", type=Path, help="Folder that holds FashionMNIST; the digits unless given.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=6_000, help="Of Fashion-MNIST; 60 %% of them to train.")
    parser.add_argument("--epochs", type=int, default=12, help="Of the dense network.")
    parser.add_argument("--fine-tune", type=int, default=8, help="Epochs after projection.")
    parser.add_argument("--features", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 2048])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.part == "latency":
        print_latencies(arguments.features)
    else:
        print_qualities(arguments)


def print_qualities(arguments: argparse.Namespace) -> None:
    begin, rows = time.perf_counter(), dict[str, list[tuple[float, int, int]]]()
    for seed in range(arguments.seeds):
        if arguments.data is None:
            splits, make = Digits(seed).load(), convolutional
        else:
            splits, make = FashionSubset(arguments.data, arguments.images).load(), perceptron
        bench = Bench(splits, make, arguments.epochs, arguments.fine_tune, seed)
        for name, network in bench.networks():
            rows.setdefault(name, []).append(bench.evaluate(network))
            print(
                f"seed {seed}: {name}: {rows[name][-1]} after {time.perf_counter() - begin:.0f} s", flush=True
            )
    print(f"\n{'':32s} parameters     kB  accuracy on the test split, mean and standard deviation; each seed")
    for name, found in rows.items():
        accuracies = [accuracy for accuracy, _, _ in found]
        spread = statistics.stdev(accuracies) if len(found) > 1 else math.nan
        params, bytes_ = (statistics.mean(values) for values in list(zip(*found, strict=True))[1:])
        print(
            f"{name:32s} {params:10,.0f} {bytes_ / 1e3:6.1f}  "
            f"{100 * statistics.mean(accuracies):.2f} ± {100 * spread:.2f}"
            f"   {[round(100 * accuracy, 2) for accuracy in accuracies]}"
        )


def perceptron(share: float) -> nn.Module:
    """Return a perceptron for 28 x 28 pixels whose hidden layers have a share of 256 features."""
    width = max(1, round(256 * share))
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, 10),
    )


def convolutional(share: float) -> nn.Module:
    """Return the space's largest network, with a share of each of its widths."""
    one, two, hidden = (max(1, round(width * share)) for width in (32, 64, 128))
    return nn.Sequential(
        nn.Conv2d(1, one, 3, padding=1, bias=False),
        nn.BatchNorm2d(one),
        nn.ReLU(),
        nn.Conv2d(one, two, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(two),
        nn.ReLU(),
        nn.Conv2d(two, two, 3, padding=1, bias=False),
        nn.BatchNorm2d(two),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * two, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 10),
    )


class Bench:
    """Networks of one seed, made and judged.

    Args:
        splits: Data.
        make: Makes a dense network of a share of the widths.
        epochs: Epochs that the dense network is trained for.
        more: Epochs after it was made smaller.
        seed: Seed of everything.
    """

    def __init__(
        self, splits: Splits, make: Callable[[float], nn.Module], epochs: int, more: int, seed: int
    ) -> None:
        self.splits, self.make, self.epochs, self.more, self.seed = splits, make, epochs, more, seed
        self.inputs = InputSpec.of_batch(splits.train.inputs, ("images",))

    def networks(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield each with its name."""
        dense = self.train_network(self.make(1.0), self.epochs)
        yield "dense", dense
        yield "dense, fine-tuned as long", self.fine_tune(dense)
        for size in SIZES:
            blocks = self.apply_pass(Circulant(size, device=None), dense)
            most = count_params(blocks)
            yield f"circulant k={size}, not trained", blocks
            yield f"circulant k={size}, fine-tuned", self.fine_tune(blocks)
            yield f"low rank as k={size}, fine-tuned", self.fine_tune(self.of_low_rank(dense, most))
            both = self.epochs + self.more
            yield f"circulant k={size}, from scratch", self.train_network(blocks, both)
            yield f"narrower as k={size}, from scratch", self.train_network(self.narrower(most), both)

    def apply_pass(self, by: CompressionPass, network: nn.Module, epochs: int = 1) -> nn.Module:
        """Return what a pass makes of a network."""
        with tempfile.TemporaryDirectory() as folder:
            recipe = Recipe(epochs, learning_rate=RATE)
            lab = Lab(self.splits.train, self.splits.task, recipe, CPU, self.seed, Path(folder))
            made = by.apply(Model(self.inputs, network), {}, lab).module
        assert made is not None
        return made

    def fine_tune(self, network: nn.Module) -> nn.Module:
        """Return a trained copy."""
        return self.apply_pass(FineTune(), network, self.more)

    def train_network(self, network: nn.Module, epochs: int) -> nn.Module:
        """Train from new weights, in place."""
        reinitialize(network, self.seed)
        recipe = Recipe(epochs, learning_rate=RATE)
        step = make_supervised_step(network, self.splits.task, recipe)
        train(network, step, self.splits.train, recipe, seed=self.seed, device=CPU)
        return network.eval()

    def of_low_rank(self, dense: nn.Module, most: int) -> nn.Module:
        """Return the network of low rank with the largest share of the energy that has no more parameters."""
        low, high, best = 0.0, 1.0, None
        for _ in range(12):
            middle = (low + high) / 2
            network = self.apply_pass(LowRank(share=middle), dense)
            if count_params(network) <= most:
                low, best = middle, network
            else:
                high = middle
        assert best is not None
        return best

    def narrower(self, most: int) -> nn.Module:
        """Return the widest network that has no more parameters."""
        shares = [n / 256 for n in range(1, 257)]
        return self.make(max(s for s in shares if count_params(self.make(s)) <= most))

    @torch.no_grad()
    def evaluate(self, network: nn.Module) -> tuple[float, int, int]:
        """Return the accuracy on the test split, the parameters, and the bytes of the ONNX file."""
        split: Split = self.splits.test
        outputs = network.eval()(split.batch(slice(None)))
        right = (outputs.argmax(1) == split.targets).double().mean().item()
        return right, count_params(network), len(export_onnx(network, self.inputs))


def print_latencies(sizes: list[int]) -> None:
    device = OnnxRuntime()
    print(f"{device.identity()}; microseconds, a low quantile of turns; file in kB")
    print("features    k batch     dense  circulant  frequencies   dense kB  circulant kB  frequencies kB")
    for size in sizes:
        for k in (4, 16, 64):
            files = [export_onnx(layer.eval(), (size,)) for layer in layers_of(size, k)]
            for batch in (1, 32):
                blocks = time_in_turns(device, files, batch, 0.2, math.inf)
                times = [1e6 * min(float(b.seconds[n]) for b in blocks) for n in range(3)]
                kilobytes = [len(file) / 1e3 for file in files]
                print(
                    f"{size:8d} {k:4d} {batch:5d} {times[0]:9.1f} {times[1]:10.1f} {times[2]:12.1f}"
                    f" {kilobytes[0]:10.1f} {kilobytes[1]:13.1f} {kilobytes[2]:15.1f}",
                    flush=True,
                )


def layers_of(size: int, k: int) -> list[nn.Module]:
    blocks = CirculantLinear(size, size, k)
    spectra = CirculantLinear(size, size, k, fourier=True)
    spectra.load_state_dict(blocks.state_dict())
    return [nn.Linear(size, size), blocks, spectra]


if __name__ == "__main__":
    main()
