"""Fine-tuning of a part of a Transformer beside all of it: accuracy, parameters that learn, memory, time of a step.

    python -m benchmarks.partial_fine_tuning --data $NAS_DATA --seeds 5

Two transfers. A Vision Transformer learns the digits 0 to 4, then, with a new last layer, 5 to 9. With ``--data`` a
text encoder learns SST-2 (is a sentence positive?), then TREC (what does a question ask for?), from 600 questions.
Each way has as many epochs in all, its priming among them, and its learning rate is the better of two on a search
split; the test split is read once. Controls: everything learns; biases, normalisation and the last layer alone; random
nodes beside those that changed most; random branches beside primed ones; and everything from scratch.

Then steps of a small and a larger network: their processor time, taking turns, and the bytes that training holds:
weights, gradients, AdamW's averages, and what the forward pass keeps for the backward pass.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from nas import FineTune, Recipe, Supernet
from nas.compression import CompressionPass, FreezeAndReconfigure, Lab, Learners, Model, PartialFineTune
from nas.compression.partial import adapt_layers
from nas.data.text import token_ids, vocabulary
from nas.evaluation.counts import count_params
from nas.inputs import InputSpec
from nas.splits import Split
from nas.supernet.copying import copy_module
from nas.tasks import Classification
from search_spaces.text_transformer import text_transformer
from search_spaces.vision_transformer import vision_transformer

CPU = torch.device("cpu")
RATES = (2e-3, 1e-2)
LENGTH, WORDS = 24, 6000
FAR, RANDOM_NODES = FreezeAndReconfigure(0.2), FreezeAndReconfigure(0.2, nodes="random")
BRANCHES = Learners(4)


@dataclass(frozen=True)
class Transfer:
    """A network, what it learns first, and what then.

    Args:
        make: Returns the network for a number of classes, without training.
        head: Name of its last layer.
        first: To learn first, with its number of classes.
        parts: To learn then: train, search, test.
        classes: Their number in ``parts``.
        epochs: Those of the first and of the second training.
    """

    make: Callable[[int], nn.Module]
    head: str
    first: tuple[Split, int]
    parts: tuple[Split, Split, Split]
    classes: int
    epochs: tuple[int, int]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="Folder that holds text/sst2 and text/trec.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=("digits", "text", "steps"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    makers: dict[str, Callable[[int], Transfer]] = {"digits": digits_transfer}
    if arguments.data is not None:
        makers["text"] = lambda seed: text_transfer(arguments.data, seed)
    for name, make in makers.items():
        if arguments.only in (None, name):
            compare(name, make, arguments.seeds)
    if arguments.only in (None, "steps"):
        measure_steps()


def compare(name: str, make: Callable[[int], Transfer], seeds: int) -> None:
    rows: dict[str, list[float]] = {}
    begin = time.perf_counter()
    for seed in range(seeds):
        transfer = make(seed)
        whole = train_first(transfer, seed)
        for way, reached in results_of(transfer, whole, seed).items():
            rows.setdefault(way, []).append(reached)
            print(f"  {way}: {reached:.2f}", flush=True)
        print(f"{name}, seed {seed} after {time.perf_counter() - begin:.0f} s", flush=True)
    everything = rows["everything"]
    print(
        f"\n{name}: test accuracy in percent, mean and standard deviation of {seeds} seeds; seeds above 'everything'"
    )
    for way, values in rows.items():
        spread = statistics.stdev(values) if seeds > 1 else float("nan")
        above = sum(value > other for value, other in zip(values, everything, strict=True))
        print(
            f"{way:45s} {statistics.mean(values):6.2f} ± {spread:.2f}   {above}   {np.round(values, 2).tolist()}"
        )


def train_first(transfer: Transfer, seed: int) -> nn.Module:
    """Return the network after its first training, with a new last layer."""
    split, classes = transfer.first
    network = make_with_seed(seed, lambda: transfer.make(classes))
    network = apply_pass(
        FineTune(), network, split, classes, Recipe(transfer.epochs[0], learning_rate=2e-3), seed
    )
    fresh = make_with_seed(seed + 1000, lambda: transfer.make(transfer.classes)).get_submodule(transfer.head)
    network.set_submodule(transfer.head, fresh)
    return network.eval()


def results_of(transfer: Transfer, whole: nn.Module, seed: int) -> dict[str, float]:
    """Return the test accuracy of each way in percent."""
    epochs, rest = transfer.epochs[1], transfer.epochs[1] - 1
    scratch = make_with_seed(seed + 2000, lambda: transfer.make(transfer.classes)).eval()
    ways: dict[str, tuple[nn.Module, CompressionPass, int]] = {
        "everything": (whole, FineTune(), epochs),
        "everything, from scratch": (scratch, FineTune(), epochs),
        "biases, normalisation, last layer": (freeze_most(whole, transfer.head), FineTune(), epochs),
        "FAR, 20% of the nodes": (whole, PartialFineTune(FAR), rest),
        "random 20% of the nodes, primed": (whole, PartialFineTune(RANDOM_NODES), rest),
        "Learners of rank 4, primed": (whole, PartialFineTune(BRANCHES), rest),
        "Learners of rank 4, not primed": (whole, PartialFineTune(BRANCHES, priming_epochs=0), epochs),
    }
    return {way: best_of(RATES, transfer, *how, seed) for way, how in ways.items()}


def best_of(
    rates: Sequence[float],
    transfer: Transfer,
    network: nn.Module,
    way: CompressionPass,
    epochs: int,
    seed: int,
) -> float:
    """Return the test accuracy with the rate that is best on the search split."""
    train, search, test = transfer.parts
    made = [
        apply_pass(way, network, train, transfer.classes, Recipe(epochs, learning_rate=rate), seed)
        for rate in rates
    ]
    return accuracy(max(made, key=lambda network: accuracy(network, search)), test)


def apply_pass(
    way: CompressionPass, network: nn.Module, split: Split, classes: int, recipe: Recipe, seed: int
) -> nn.Module:
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(split, Classification(classes), recipe, CPU, seed, Path(folder))
        module = way.apply(Model(InputSpec.of_batch(split.inputs, ("items",)), network), {}, lab).module
    assert module is not None
    return module


def freeze_most(network: nn.Module, head: str) -> nn.Module:
    """Return a copy of which biases, normalisation and the last layer learn."""
    made = copy_module(network)
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(parameter.ndim <= 1 or name.startswith(f"{head}."))
    return made


def digits_transfer(seed: int) -> Transfer:
    data = load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(data.target)
    is_first = labels < 5
    first = Split(images[is_first], labels[is_first])
    train, search, test = part_rows((labels >= 5).nonzero().flatten().numpy(), labels.numpy(), seed)
    parts = [Split(images[rows], labels[rows] - 5) for rows in (train, search, test)]

    def make(classes: int) -> nn.Module:
        return extract_subnet(vision_transformer(classes, 1, 8, 2), width=48, depth=4, ratio=4, heads=4)

    return Transfer(make, "5", (first, 5), (parts[0], parts[1], parts[2]), 5, (20, 10))


def part_rows(rows: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 40 % of rows to train, 20 % to choose by, 40 % to judge, as many of each class."""
    rest, test = train_test_split(rows, test_size=0.4, stratify=labels[rows], random_state=seed)
    train, search = train_test_split(rest, test_size=1 / 3, stratify=labels[rest], random_state=seed)
    return train, search, test


def text_transfer(data: Path, seed: int) -> Transfer:
    first, first_labels = table(data / "text" / "sst2" / "train.tsv")
    texts, labels = table(data / "text" / "trec" / "train.tsv")
    test_texts, test_labels = table(data / "text" / "trec" / "test.tsv")
    rows = np.random.default_rng(seed).permutation(len(texts))
    train, search = rows[:600].tolist(), rows[600:1200].tolist()
    parts = [[texts[row] for row in train], [texts[row] for row in search], test_texts]
    targets = [[labels[row] for row in train], [labels[row] for row in search], test_labels]
    known = vocabulary([*first, *parts[0]], max_words=WORDS, min_count=2)

    def split(of: Sequence[str], named: Sequence[str], among: Sequence[str]) -> Split:
        number = {name: position for position, name in enumerate(sorted(set(among)))}
        return Split(token_ids(of, known, LENGTH), torch.tensor([number[name] for name in named]))

    def make(classes: int) -> nn.Module:
        return extract_subnet(text_transformer(classes, WORDS, LENGTH), width=64, depth=2, ratio=4, heads=4)

    splits = [split(of, named, labels) for of, named in zip(parts, targets, strict=True)]
    return Transfer(
        make,
        "head",
        (split(first, first_labels, first_labels), 2),
        (splits[0], splits[1], splits[2]),
        6,
        (6, 8),
    )


def table(path: Path) -> tuple[list[str], list[str]]:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [row[0] for row in rows], [row[1] for row in rows]


def extract_subnet(network: nn.Module, width: int, depth: int, ratio: int, heads: int) -> nn.Module:
    """Return the subnet of these sizes."""
    supernet = Supernet(network)
    options: dict[str, int] = {}
    for choice in supernet.space.choices:
        kind = choice.name.rpartition(".")[2]
        options[choice.name] = {"width": width, "depth": depth, "mlp_ratio": ratio, "heads": heads}[kind]
    return supernet.extract(supernet.space.architecture(options))


def make_with_seed(seed: int, make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make()


@torch.no_grad()
def accuracy(network: nn.Module, split: Split) -> float:
    right = [network(split.batch(slice(n, n + 256))).argmax(1) for n in range(0, len(split), 256)]
    return 100 * (torch.cat(right) == split.targets).double().mean().item()


SIZES = {"width 64, depth 2": (1.0, 64, 2, 4, 64), "width 512, depth 4": (4.0, 512, 4, 16, 16)}
"""Of the text encoder, scale, width, depth, heads, and sentences in a batch."""


def measure_steps(turns: int = 15) -> None:
    """Print time and memory of steps of each way, for a small and a larger text encoder."""
    for size, (scale, width, depth, heads, batch) in SIZES.items():
        network = make_with_seed(
            0,
            lambda s=scale, w=width, d=depth, h=heads: extract_subnet(
                text_transformer(2, WORDS, LENGTH, s), w, d, 4, h
            ),
        )
        ids = torch.randint(1, WORDS, (batch, LENGTH), generator=torch.Generator().manual_seed(0))
        num_params = count_params(network)
        ways = {
            "everything": network,
            "embedding frozen": freeze_module(copy_module(network), "embedding"),
            "biases, normalisation, last layer": freeze_most(network, "head"),
            "FAR, 20% of the nodes": adapt_copy(
                network, PartialFineTune(RANDOM_NODES, priming_epochs=0), ids
            ),
            "FAR as two layers, concatenated": in_two(network),
            "Learners of rank 4": adapt_copy(network, PartialFineTune(BRANCHES, priming_epochs=0), ids),
        }
        steps = {way: Steps(model.train(), ids) for way, model in ways.items()}
        for _ in range(turns):
            for step in steps.values():
                step.take()
        print(
            f"\n{size}: {batch} sentences of {LENGTH} tokens; median and quartiles of {turns} steps, one thread"
        )
        print(
            f"{'':36s} {'learning':>10s} {'of all':>7s} {'ms':>7s} {'quartiles':>15s} {'kept MB':>8s} {'all MB':>7s}"
        )
        for way, step in steps.items():
            print(f"{way:36s} {step.row(num_params)}", flush=True)


def freeze_module(network: nn.Module, name: str) -> nn.Module:
    network.get_submodule(name).requires_grad_(False)
    return network


def adapt_copy(network: nn.Module, plan: PartialFineTune, ids: Tensor) -> nn.Module:
    made = copy_module(network)
    adapt_layers(made, network, plan, ids[:2], 0)
    return made


class InTwo(nn.Module):
    """A linear layer as two, one of which learns, as the paper has it: outputs are concatenated and put in order."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        order = torch.randperm(layer.out_features)
        count = round(FAR.retention * len(order))
        self.order = order.argsort()
        self.parts = nn.ModuleList(nn.Linear(layer.in_features, n) for n in (count, len(order) - count))
        self.parts[1].requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        """As ``torch.nn.Linear``."""
        return torch.cat([part(inputs) for part in self.parts], -1).index_select(-1, self.order)


def in_two(network: nn.Module) -> nn.Module:
    made = freeze_most(network, "head")
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.Linear) and name != "head":
            made.set_submodule(name, InTwo(module))
    return made


class Steps:
    """Steps of the optimizer on one batch, timed.

    Args:
        network: To train.
        ids: The batch.
    """

    def __init__(self, network: nn.Module, ids: Tensor) -> None:
        self.network, self.ids = network, ids
        self.learning = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.learning, lr=1e-3)
        self.seconds: list[float] = []

    def take(self) -> None:
        """Take a step."""
        begin = time.process_time()
        self.optimizer.zero_grad(set_to_none=True)
        self.loss().backward()
        self.optimizer.step()
        self.seconds.append(time.process_time() - begin)

    def loss(self) -> Tensor:
        """Return the loss of the batch."""
        return F.cross_entropy(self.network(self.ids), self.ids[:, 0] % 2)

    def count_kept_bytes(self) -> int:
        """Return bytes that the forward pass keeps for the backward pass, besides the parameters."""
        held = [*self.network.parameters(), *self.network.buffers()]
        own = {tensor.untyped_storage().data_ptr() for tensor in held}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = self.loss()
        assert loss.requires_grad
        return sum(kept.values())

    def row(self, num_params: int) -> str:
        """Return the figures as a row of the table."""
        held = sum(t.nbytes for t in (*self.network.parameters(), *self.network.buffers()))
        learning = sum(p.numel() for p in self.learning)
        low, middle, high = np.percentile(1000 * np.array(self.seconds[2:]), (25, 50, 75))
        kept = self.count_kept_bytes()
        total = held + 12 * learning + kept
        share = learning / num_params
        return (
            f"{learning:10,d} {share:7.1%} {middle:7.1f} {f'{low:.1f} to {high:.1f}':>15s} {kept / 1e6:8.1f} "
            f"{total / 1e6:7.1f}"
        )


if __name__ == "__main__":
    main()
