"""FastNAS of NVIDIA's Model-Optimizer beside our structured pruning: resnet18 at half its multiplications.

    PYTHONPATH=/path/to/modelopt python -m benchmarks.modelopt_peer --data $NAS_DATA --out runs/pruning

Model-Optimizer is no dependency of this project. Where it isn't installed, it may lie in a folder of its own:

    pip install --target /path/to/modelopt --no-deps nvidia-modelopt ninja nvidia-ml-py omegaconf pulp regex
    pip install --target /path/to/modelopt --no-deps torchprofile==0.0.4

FastNAS prunes a trained network to at most half of its MACs, ours the same network to as many MACs as FastNAS left,
and all are fine-tuned the same. FastNAS is called as its documentation does, with its own settings (widths are
multiples of 32), and scores networks by the accuracy on images that nothing else is measured on. From them it learns
each layer's sensitivity; ours looks at weights alone, or at a few batches, and its seconds are of one of the shares
that were tried. Less than eight minutes of one core.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.pruning import (
    IMAGES,
    OURS,
    accuracy,
    fine_tune,
    load_split,
    macs,
    nearest_to,
    ours,
    train_whole,
)
from nas.splits import Split
from nas.supernet.copying import copy_module

_CALIBRATED = 50
"""Batches that batch norm is recalibrated on for each score: Model-Optimizer keeps so many, and warns of fewer."""
_BATCH = 16
_REPEATS = 30
"""Of a forward pass; the least time counts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Folder that holds cifar10_jpeg.")
    parser.add_argument("--out", type=Path, default=Path("runs/pruning"), help="Keeps the trained network.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=2000, help="To train with.")
    parser.add_argument("--score-images", type=int, default=256, help="That FastNAS scores networks on.")
    parser.add_argument("--test-images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=6, help="Before pruning.")
    parser.add_argument("--fine-tune", type=int, default=2, help="Epochs after pruning.")
    arguments = parser.parse_args()
    if importlib.util.find_spec("modelopt") is None:
        print("skipped: NVIDIA Model-Optimizer can't be imported; the docstring says how to install it.")
        return
    torch.set_num_threads(1)
    train, test = (
        load_split(arguments.data, "train", arguments.images, arguments.seed),
        load_split(arguments.data, "test", arguments.test_images + arguments.score_images, 0),
    )
    score, test = halves(test, arguments.score_images)
    whole = train_whole(arguments.seed, train, arguments)
    print(f"{arguments.images} images, {arguments.epochs} epochs, then {arguments.fine_tune}, one thread, seed "
          f"{arguments.seed}; accuracy on {len(test)} test images", flush=True)  # fmt: skip
    tell("whole", whole, whole, test, 0.0)
    theirs, seconds = fast_nas(whole, train, score)
    made = {"FastNAS": (theirs, seconds)}
    for setting in OURS:
        made[f"ours, {setting}"] = nearest_to(
            macs(theirs), whole, lambda share, how=setting: ours(whole, how, share, train, arguments.seed)
        )
    for name, (network, seconds) in made.items():
        tell(f"{name}, as pruned", network, whole, test, seconds)
        tell(name, fine_tune(network, arguments.fine_tune, train, arguments.seed), whole, test, seconds)


def halves(split: Split, count: int) -> tuple[Split, Split]:
    """Return ``count`` random items, which only FastNAS looks at, and the others."""
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    return split.subset(rows[:count]), split.subset(rows[count:])


def tell(name: str, network: nn.Module, whole: nn.Module, test: Split, seconds: float) -> None:
    share = macs(network) / macs(whole)
    print(
        f"{name:34s} accuracy {accuracy(network, test):.4f}  {share:.3f} of the MACs  "
        f"{sum(p.numel() for p in network.parameters()):>10,} parameters  {latency_ms(network):6.2f} ms  "
        f"pruned in {seconds:.0f} s",
        flush=True,
    )


def fast_nas(whole: nn.Module, train: Split, score: Split) -> tuple[nn.Module, float]:
    """Return what Model-Optimizer makes of a network at half its FLOPs, and the seconds that it took."""
    import modelopt.torch.prune as mtp

    rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[: _CALIBRATED * _BATCH]
    batches = [train.batch(some) for some in rows.split(_BATCH)]
    given = copy_module(whole).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # asked for
    begin = time.perf_counter()
    pruned, _ = mtp.prune(
        model=given,
        mode="fastnas",
        constraints={"flops": "50%"},
        dummy_input=IMAGES.blank(1),
        config={
            "data_loader": batches,
            "collect_func": same,
            "score_func": lambda network: accuracy(network, score),
            "verbose": False,
        },
    )
    return pruned.eval(), time.perf_counter() - begin


def same(batch: Tensor) -> Tensor:
    return batch


@torch.no_grad()
def latency_ms(network: nn.Module) -> float:
    """Return the least milliseconds of a forward pass of one image in PyTorch."""
    image, found = IMAGES.blank(1), []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        network(image)
        found.append(time.perf_counter() - begin)
    return 1000 * min(found)


if __name__ == "__main__":
    main()
