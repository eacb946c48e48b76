"""Training with workers that send nonsense: Kardam's filters beside plain averaging, two ways.

    python -m benchmarks.kardam asynchronous --seeds 0 1 2 3 4
    python -m benchmarks.kardam together --seeds 0 1 2

``asynchronous`` simulates the paper's setting: ten workers, three of them faulty, send gradients of softmax regression
on the digits to a server, each as soon as it has one, of the weights that it was sent before. Beside each other: plain
steps; Kardam as published, which compares a gradient with the last one that was accepted; a variant, which compares it
with the median of all workers' latest; and that one without its other parts. ``together`` is what a study can use: ten
processes train a supernet by the sandwich rule and ``Recipe(faulty_ranks=3)`` beside the plain sum, and beside seven
sound processes alone. All is judged on the search split.
"""

from __future__ import annotations

import argparse
import heapq
import math
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.together import in_processes
from nas import Recipe, SandwichRule
from nas.data import Digits
from nas.errors import TrainingError
from nas.evaluation.from_scratch import fresh_network
from nas.supernet import Supernet
from nas.training import Ranks, train
from nas.training.kardam import within_lipschitz
from search_spaces.plain_mlp import plain_mlp

CPU = torch.device("cpu")
NUM_WORKERS, NUM_FAULTY = 10, 3
RATE = 0.1
Nonsense = Callable[[Tensor, torch.Generator], Tensor]
KINDS: dict[str, Nonsense] = {
    "random": lambda gradient, generator: torch.randn(gradient.shape, generator=generator),
    "negated": lambda gradient, _: -10 * gradient,
}


@dataclass(frozen=True)
class Policy:
    """What a server does with gradients.

    Args:
        compares_with: What a gradient must not stray from.
        filters_frequency: Whether those are left out whose worker sent one of the last 2 f accepted ones.
        dampens: Whether stale ones count for less.
    """

    compares_with: Literal["nothing", "last", "median"]
    filters_frequency: bool = True
    dampens: bool = True


PLAIN, KARDAM, MEDIAN = Policy("nothing", False, False), Policy("last"), Policy("median")
POLICIES = {
    "plain": PLAIN,
    "Kardam as published": KARDAM,
    "no Lipschitz filter": Policy("nothing"),
    "Kardam, median": MEDIAN,
    "Kardam, median, no dampening": replace(MEDIAN, dampens=False),
    "Kardam, median, no frequency filter": replace(MEDIAN, filters_frequency=False),
    "Kardam, median alone": Policy("median", False, False),
}


class Server:
    """Holds the weights, and takes a step with each gradient that it accepts (Damaskinos 2018).

    Args:
        weights: To begin with.
        policy: Which gradients count, and how much.
    """

    def __init__(self, weights: Tensor, policy: Policy) -> None:
        self.weights, self.version, self._policy = weights, 0, policy
        self._sent: dict[
            int, tuple[Tensor, Tensor]
        ] = {}  # by worker: its last gradient, and of which weights
        self._coefficients: dict[int, float] = {}
        self._accepted: tuple[Tensor, Tensor] | None = None
        self._senders: deque[int] = deque(maxlen=2 * NUM_FAULTY)

    def receive(self, worker: int, gradient: Tensor, of: Tensor, staleness: int) -> bool:
        """Take a step, and return whether one was taken."""
        if worker in self._sent:
            self._coefficients[worker] = lipschitz((gradient, of), self._sent[worker])
        self._sent[worker] = gradient, of
        if self._policy.filters_frequency and worker in self._senders:
            return False
        if not self._fits(worker):
            return False
        self._senders.append(worker)
        self._accepted = gradient, of
        dampened = 1 / (1 + staleness) if self._policy.dampens else 1
        self.weights = self.weights - RATE * dampened * gradient
        self.version += 1
        return True

    def _fits(self, worker: int) -> bool:
        if self._policy.compares_with == "nothing":
            return True
        if self._policy.compares_with == "median":
            if len(self._sent) < NUM_WORKERS:
                return False
            latest = torch.stack([self._sent[one][0].flatten() for one in range(NUM_WORKERS)])
            distances = (latest - latest.median(dim=0).values).norm(dim=1)
            return bool(within_lipschitz(distances, NUM_FAULTY)[worker])
        if self._accepted is None or len(self._coefficients) < NUM_WORKERS:
            return self._accepted is None
        allowed = sorted(self._coefficients.values())[NUM_WORKERS - NUM_FAULTY - 1]
        return lipschitz(self._sent[worker], self._accepted) <= allowed


def lipschitz(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """Return by how much two gradients differ, by how much the weights do that they are of."""
    moved = float((one[1] - other[1]).norm())
    return float((one[0] - other[0]).norm()) / moved if moved else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("asynchronous", "together"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--gradients", type=int, default=3000, help="That workers send; asynchronous.")
    parser.add_argument("--epochs", type=int, default=12, help="Together.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "asynchronous":
        compare_asynchronous(arguments.seeds, arguments.gradients)
    else:
        compare_together(arguments.seeds, arguments.epochs)


def compare_asynchronous(seeds: list[int], gradients: int) -> None:
    rows = [(name, policy, kind) for kind in (None, *KINDS) for name, policy in POLICIES.items()]
    target = statistics.mean(simulate(PLAIN, None, seed, gradients)[0][-1] for seed in seeds) * 2
    print(f"{gradients} gradients sent; target: a loss of {target:.3f}")
    for name, policy, kind in rows:
        found = [simulate(policy, kind, seed, gradients) for seed in seeds]
        reached = [next((i for i, v in enumerate(losses) if v <= target), None) for losses, *_ in found]
        times = [100.0 * (i + 1) for i in reached if i is not None]
        print(
            f"{'all sound' if kind is None else f'3 of 10 {kind}':16s} {name:36s}"
            f" loss {spread_of([losses[-1] for losses, *_ in found])}, accuracy "
            f"{spread_of([100 * accuracy for _, accuracy, *_ in found], 1)} %, accepted of sound ones "
            f"{statistics.mean(sound for *_, sound, _ in found):.0%}, of faulty ones "
            f"{statistics.mean(faulty for *_, faulty in found):.0%}, target after "
            f"{spread_of(times, 0) if len(times) == len(seeds) else f'none in {len(seeds) - len(times)}'}",
            flush=True,
        )


def simulate(
    policy: Policy, kind: str | None, seed: int, count: int
) -> tuple[list[float], float, float, float]:
    """Return the losses after every hundred gradients, the accuracy, and which shares were accepted."""
    splits = Digits().load()
    images = splits.train.batch(slice(None)).flatten(1)
    judged, labels = with_ones(splits.search.batch(slice(None)).flatten(1)), splits.search.targets
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    server = Server(torch.zeros(65, 10), policy)
    pace = rng.uniform(1, 3, NUM_WORKERS)
    events = [(float(pace[w] * rng.exponential()), w, server.weights, 0) for w in range(NUM_WORKERS)]
    heapq.heapify(events)
    losses, accepted, sent = list[float](), np.zeros(2), np.zeros(2)
    for number in range(count):
        now, worker, weights, version = heapq.heappop(events)
        rows = torch.randint(len(images), (32,), generator=generator)
        gradient = softmax_gradient(weights, images[rows], splits.train.targets[rows])
        is_faulty = kind is not None and worker < NUM_FAULTY
        if kind is not None and is_faulty:
            gradient = KINDS[kind](gradient, generator)
        sent[int(is_faulty)] += 1
        accepted[int(is_faulty)] += server.receive(worker, gradient, weights, server.version - version)
        heapq.heappush(
            events, (now + float(pace[worker] * rng.exponential()), worker, server.weights, server.version)
        )
        if (number + 1) % 100 == 0:
            outputs = judged @ server.weights
            losses.append(nn.functional.cross_entropy(outputs, labels).item())
    accuracy = float((outputs.argmax(1) == labels).float().mean())
    shares = accepted / np.maximum(sent, 1)
    return losses, accuracy, float(shares[0]), float(shares[1])


def with_ones(images: Tensor) -> Tensor:
    return torch.cat([images, torch.ones(len(images), 1)], dim=1)


def softmax_gradient(weights: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the mean cross-entropy of a linear classifier."""
    inputs = with_ones(images)
    errors = torch.softmax(inputs @ weights, dim=1) - nn.functional.one_hot(labels, 10)
    return inputs.T @ errors / len(images)


def compare_together(seeds: list[int], epochs: int) -> None:
    for kind in (None, *KINDS):
        for size, faulty_ranks in ((NUM_WORKERS, 0), (NUM_WORKERS, NUM_FAULTY), (7, 0)):
            if kind is not None and size == 7:  # the seven that are sound
                continue
            found = [
                in_processes(size, partial(train_together, kind, faulty_ranks, seed, epochs))[-1]
                for seed in seeds
            ]
            print(
                f"{'all sound' if kind is None else f'3 of 10 {kind}':16s} {size} processes, "
                f"faulty_ranks={faulty_ranks}: accuracy on the search split, largest subnet "
                f"{spread_of([100 * largest for largest, _ in found], 1)} %, smallest "
                f"{spread_of([100 * smallest for _, smallest in found], 1)} %",
                flush=True,
            )


def train_together(
    kind: str | None, faulty_ranks: int, seed: int, epochs: int, ranks: Ranks
) -> tuple[float, float]:
    """Train a supernet in this process, and return the accuracy of its largest and its smallest subnet."""
    torch.set_num_threads(1)
    splits = Digits().load()
    supernet = fresh_network(partial(plain_mlp, classes=10, features=64), seed)
    assert isinstance(supernet, Supernet)
    if kind is not None and ranks.rank < NUM_FAULTY:
        generator = torch.Generator().manual_seed(ranks.rank)
        for parameter in supernet.parameters():
            parameter.register_hook(lambda gradient: KINDS[kind](gradient, generator))
    recipe = Recipe(epochs=epochs, batch_size=60, faulty_ranks=faulty_ranks)
    (phase,) = SandwichRule().phases(supernet, recipe, splits.task)
    try:
        train(supernet, phase.step(), splits.train, recipe, seed=seed, device=CPU, ranks=ranks)
    except TrainingError:
        return math.nan, math.nan
    accuracies = []
    for architecture in (supernet.space.largest(), supernet.space.smallest()):
        with torch.no_grad(), supernet.active(architecture):
            outputs = supernet(splits.search.batch(slice(None)))
        accuracies.append(float((outputs.argmax(1) == splits.search.targets).float().mean()))
    return accuracies[0], accuracies[1]


def spread_of(values: list[float], digits: int = 3) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"


if __name__ == "__main__":
    main()
