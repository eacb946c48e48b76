"""Train the 258 perceptrons of ``search_spaces.digits_mlp``, ten seeds each, and write their table.

    python -m benchmarks.digits_table

Digits / 16, one stratified 70/30 split (random state 0): 1,257 images to train, 540 to judge. SGD at a learning
rate of 0.1 without momentum, batches of 64, 30 epochs, ReLU, Kaiming-uniform weights. The seeds of one network are
trained together, as one batched network: the same arithmetic as one after the other, without the overhead.
``--verify`` trains one network per depth as plain ``nn.Sequential`` modules too and compares. It takes a few minutes
on one core; other machines and versions of torch round differently, so some accuracies move by an image or two.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

from nas.files import replacing
from search_spaces.digits_mlp import FILE, MAX_DEPTH, WIDTHS, digits_mlp, implementation_cost

EPOCHS, BATCH_SIZE, LEARNING_RATE, SPLIT_SEED = 30, 64, 0.1, 0


@dataclass(frozen=True)
class Images:
    """Flat images in [0, 1], ``(n, 64)`` float32, and labels ``(n,)``."""

    train: Tensor
    train_labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor


def load() -> Images:
    pixels, labels = load_digits(return_X_y=True)
    parts = train_test_split(pixels / 16, labels, test_size=0.3, stratify=labels, random_state=SPLIT_SEED)
    train, held_out = (torch.from_numpy(part).to(torch.float32) for part in parts[:2])
    train_labels, held_out_labels = (torch.from_numpy(part).to(torch.int64) for part in parts[2:])
    return Images(train, train_labels, held_out, held_out_labels)


def start(widths: Sequence[int], seed: int, num_images: int) -> tuple[torch.nn.Sequential, list[Tensor]]:
    """Return a seed's untrained network and its order of the images, one permutation per epoch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = digits_mlp(widths)
        return network, [torch.randperm(num_images) for _ in range(EPOCHS)]


def accuracies(images: Images, widths: Sequence[int], seeds: Sequence[int]) -> list[float]:
    """Train one network per seed, together, and return their accuracies on the held-out images."""
    networks, orders = zip(*(start(widths, seed, len(images.train)) for seed in seeds), strict=True)
    stacked = zip(*(network.parameters() for network in networks), strict=True)
    parameters = [torch.stack(same).detach().requires_grad_() for same in stacked]
    for epoch in range(EPOCHS):
        order = torch.stack([permutations[epoch] for permutations in orders])
        for batch in order.split(BATCH_SIZE, dim=1):
            logits = forward(parameters, images.train[batch])
            # The sum over the networks: each one's gradient is that of its own mean loss.
            loss = functional.cross_entropy(
                logits.flatten(0, 1), images.train_labels[batch].flatten(), reduction="sum"
            )
            gradients = torch.autograd.grad(loss / batch.shape[1], parameters)
            with torch.no_grad():
                torch._foreach_add_(parameters, gradients, alpha=-LEARNING_RATE)
    with torch.no_grad():
        logits = forward(parameters, images.held_out.expand(len(seeds), -1, -1))
    return [float(a) for a in (logits.argmax(dim=2) == images.held_out_labels).double().mean(dim=1)]


def forward(parameters: Sequence[Tensor], inputs: Tensor) -> Tensor:
    """Return the logits of ``k`` networks, each for its own inputs ``(k, n, 64)``."""
    for layer, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
        inputs = torch.baddbmm(bias[:, None], inputs.relu() if layer else inputs, weight.transpose(1, 2))
    return inputs


def plain_accuracy(images: Images, widths: Sequence[int], seed: int) -> float:
    """Train one ``nn.Sequential`` with ``torch.optim.SGD``, as anyone would write it."""
    network, orders = start(widths, seed, len(images.train))
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE)
    for order in orders:
        for batch in order.split(BATCH_SIZE):
            optimizer.zero_grad()
            functional.cross_entropy(network(images.train[batch]), images.train_labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return float((network(images.held_out).argmax(dim=1) == images.held_out_labels).double().mean())


def verify(images: Images, num_seeds: int) -> None:
    for widths in ((16,), (32, 64), (64, 32, 64)):
        together = accuracies(images, widths, range(num_seeds))
        alone = [plain_accuracy(images, widths, seed) for seed in range(num_seeds)]
        apart = np.abs(np.array(together) - alone).max() * len(images.held_out)
        print(
            f"{widths}: mean accuracy {np.mean(together):.4f} batched, {np.mean(alone):.4f} plain; "
            f"the most different seed differs by {apart:.0f} of {len(images.held_out)} images"
        )


def write(path: Path, images: Images, num_seeds: int) -> None:
    networks = [w for depth in range(1, MAX_DEPTH + 1) for w in itertools.product(WIDTHS, repeat=depth)]
    begin = time.perf_counter()
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["widths", "cost", *(f"accuracy_seed{seed}" for seed in range(num_seeds))])
        for number, widths in enumerate(networks, start=1):
            row = accuracies(images, widths, range(num_seeds))
            writer.writerow(
                ["-".join(map(str, widths)), implementation_cost(widths), *(f"{a:.6f}" for a in row)]
            )
            if number % 43 == 0:
                print(f"{number} of {len(networks)}, {time.perf_counter() - begin:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--verify", action="store_true", help="compare with plain training; writes nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the matrices are small
    images = load()
    if arguments.verify:
        verify(images, arguments.seeds)
    else:
        write(arguments.out, images, arguments.seeds)


if __name__ == "__main__":
    main()
