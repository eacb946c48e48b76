"""Four processes of speeds 1, 1, 2 and 4 train a supernet together: shares of a batch by speed beside equal ones.

    python -m benchmarks.share_by_speed --seeds 0 1 2 3 4
    python -m benchmarks.share_by_speed --seeds 0 1 2 --real

The digits, a small perceptron, the sandwich rule. The processes are real and talk by gloo; their speeds are pretended.
A batch takes a process 20 ms per item at speed 1, and 40 ms whatever its items are, with a deviation of a tenth; a step
takes as long as its slowest process. With ``--real`` each process sleeps for so long, and the seconds are those of the
clock, with what the computation takes and what else the machine does. In ``changing`` the fast and the slow ones change
places half-way. Both ways take the same batches in the same order; the seconds are those until the training loss is as
low as the worse of the two ends.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.together import in_processes
from nas import Recipe, SandwichRule
from nas.data import Digits
from nas.evaluation.from_scratch import fresh_network
from nas.inputs import Inputs
from nas.supernet import Supernet
from nas.training import Losses, Ranks, train
from search_spaces.plain_mlp import plain_mlp

SPEEDS = (1.0, 1.0, 2.0, 4.0)
ITEM_S, BATCH_S, NOISE = 0.02, 0.04, 0.1


@dataclass(frozen=True)
class Trained:
    """What one process did.

    Args:
        losses: After each epoch.
        seconds: That each batch took it.
        wall: Seconds of the clock, after each epoch.
        weights: A number that tells weights apart.
    """

    losses: list[float]
    seconds: list[float]
    wall: list[float]
    weights: float


class Processor:
    """A process's pretended clock."""

    now = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--real", action="store_true", help="Sleep, and look at the clock.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for changing in (False, True):
        gains = []
        for seed in arguments.seeds:
            found = {
                by_speed: in_processes(4, partial(train_here, by_speed, changing, seed, arguments))
                for by_speed in (False, True)
            }
            target = max(processes[0].losses[-1] for processes in found.values())
            taken = {
                by_speed: seconds_to(target, processes, arguments.real)
                for by_speed, processes in found.items()
            }
            gains.append(taken[False] / taken[True])
            for by_speed, processes in found.items():
                print(
                    f"{'changing' if changing else 'constant'} speeds, seed {seed}, "
                    f"{'by speed' if by_speed else 'equal   '}: {taken[by_speed]:5.1f} s to a loss of {target:.3f}, "
                    f"last loss {processes[0].losses[-1]:.4f}, idle {idle(processes):.0%}, weights "
                    f"{'equal' if len({one.weights for one in processes}) == 1 else 'DIFFER'}",
                    flush=True,
                )
        spread = statistics.stdev(gains) if len(gains) > 1 else float("nan")
        print(f"  equal shares take {statistics.mean(gains):.2f} ± {spread:.2f} times as long", flush=True)


def train_here(
    by_speed: bool, changing: bool, seed: int, arguments: argparse.Namespace, ranks: Ranks
) -> Trained:
    """Train in this process, at its speed."""
    torch.set_num_threads(1)
    splits, rng = Digits().load(), np.random.default_rng((seed, ranks.rank))
    supernet = fresh_network(partial(plain_mlp, classes=10, features=64), seed)
    assert isinstance(supernet, Supernet)
    recipe = Recipe(epochs=arguments.epochs, share_by_speed=by_speed)
    (phase,) = SandwichRule().phases(supernet, recipe, splits.task)
    inner, processor, seconds, wall = phase.step(), Processor(), list[float](), list[float]()

    def step(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
        yield from inner(inputs, targets, generator)
        turned = changing and len(wall) >= arguments.epochs // 2
        speed = SPEEDS[::-1][ranks.rank] if turned else SPEEDS[ranks.rank]
        took = float((len(targets) * ITEM_S / speed + BATCH_S) * np.exp(NOISE * rng.standard_normal()))
        seconds.append(took)
        processor.now += took
        if arguments.real:
            time.sleep(took)

    begin = time.perf_counter()
    losses = train(
        supernet,
        step,
        splits.train,
        recipe,
        seed=seed,
        device=torch.device("cpu"),
        ranks=ranks,
        on_epoch=lambda _epoch, _loss: wall.append(time.perf_counter() - begin),
        clock=time.perf_counter if arguments.real else processor,
    )
    weights = sum(value.double().abs().sum().item() for value in supernet.state_dict().values())
    return Trained(losses, seconds, wall, weights)


def seconds_to(target: float, processes: list[Trained], is_real: bool) -> float:
    """Return when a training's loss was first as low as a target."""
    first = processes[0]
    epochs = 1 + next(epoch for epoch, loss in enumerate(first.losses) if loss <= target)
    if is_real:
        return first.wall[epochs - 1]
    steps = len(first.seconds) * epochs // len(first.losses)
    return sum(map(max, *(one.seconds[:steps] for one in processes)))


def idle(processes: list[Trained]) -> float:
    """Return the share of the processes' time in which they waited for the slowest."""
    seconds = np.array([one.seconds for one in processes])
    return float(1 - seconds.mean() / seconds.max(axis=0).mean())


if __name__ == "__main__":
    main()
