"""What ``Supernet.from_module`` makes of networks that exist, how exact it is, and what switching costs.

python -m benchmarks.from_module [--models resnet18 ...] [--architectures 50]
"""

from __future__ import annotations

import argparse
import time
import tracemalloc

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import models

from nas.supernet import Supernet
from nas.supernet.convert.example import tensors

MODELS = (
    "resnet18",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "densenet121",
    "vit_b_16",
    "deeplabv3_mobilenet_v3_large",
    "own",
)


class Own(nn.Module):
    """A user's module: concatenation, a layer that is used twice, functional skips, a flattened image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.same = nn.Conv2d(32, 32, 3, padding=1)
        self.side = nn.Conv2d(32, 24, 3, padding=1)
        self.shared = nn.Conv2d(56, 56, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(56), nn.BatchNorm2d(56)])
        self.depthwise = nn.Conv2d(88, 88, 3, padding=1, groups=88)
        self.hidden, self.head = nn.Linear(88 * 16, 64), nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to ``(n, 10)``."""
        x = F.relu(self.stem(images))
        x = x + F.relu(self.same(x))
        z = F.relu(self.norms[0](self.shared(torch.cat([self.side(x), x], 1))))
        z = z + self.norms[1](self.shared(z))
        z = F.relu(self.depthwise(torch.cat([z, x], 1)))
        logits: Tensor = self.head(F.relu(self.hidden(F.adaptive_avg_pool2d(z, 4).flatten(1))))
        return logits


def build(name: str, resolution: int) -> nn.Module:
    """Return the network with random weights, in a state in which no signal dies."""
    torch.manual_seed(0)
    network: nn.Module
    if name == "own":
        network = Own()
    elif name.startswith("deeplab"):
        network = models.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None)
    elif name == "vit_b_16":
        network = models.vit_b_16(weights=None, image_size=resolution)
        nn.init.normal_(network.heads.head.weight, std=0.05)  # torchvision starts it at zero
    else:
        network = getattr(models, name)(weights=None)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    with torch.no_grad():
        network.train()(torch.randn(8, 3, resolution, resolution))
    return network.eval()


class Allocations(TorchDispatchMode):
    """Counts the tensors that operations make."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """Count and go on."""
        self.operations += 1
        return func(*args, **(kwargs or {}))


def exactness(name: str, count: int, resolution: int) -> None:
    network = build(name, resolution)
    images = torch.randn(2, 3, resolution, resolution)
    begin = time.perf_counter()
    supernet = Supernet.from_module(network, images)
    seconds = time.perf_counter() - begin
    assert supernet.report is not None
    with torch.no_grad():
        original = tensors(network(images))
        whole = _difference(tensors(supernet(images)), original)
        rng, worst = np.random.default_rng(0), 0.0
        for _ in range(count):
            architecture = supernet.space.sample(rng)
            with supernet.active(architecture):
                active = tensors(supernet(images))
            worst = max(worst, _difference(active, tensors(supernet.extract(architecture)(images))))
    scale = max(x.abs().max().item() for x in original)
    print(
        f"| {name} | {len(supernet.report.elastic)} of {len(supernet.report.rows)} | {len(supernet.space.choices)} "
        f"| {supernet.space.cardinality():.1e} | {whole:.1e} | {worst:.1e} | {scale:.2g} | {seconds:.0f} |",
        flush=True,
    )


def _difference(ones: list[Tensor], others: list[Tensor]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(ones, others, strict=True))


def switching(resolution: int) -> None:
    """Time switching of a network of ResNet-18's size, and show that it makes no tensors."""
    supernet = Supernet.from_module(build("resnet18", resolution), torch.randn(2, 3, resolution, resolution))
    rng = np.random.default_rng(0)
    architectures = [supernet.space.sample(rng) for _ in range(500)]
    seconds = []
    with Allocations() as made:
        for architecture in architectures:
            begin = time.perf_counter()
            with supernet.active(architecture):
                seconds.append(time.perf_counter() - begin)
    tracemalloc.start()
    with supernet.active(architectures[0]):
        _, peak = tracemalloc.get_traced_memory()
    print(
        f"switching resnet18 ({len(supernet.space.choices)} choices): median {1e3 * np.median(seconds):.3f} ms, "
        f"95th percentile {1e3 * np.quantile(seconds, 0.95):.3f} ms; {made.operations} tensor operations; "
        f"{peak / 1024:.0f} KiB of Python objects at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--architectures", type=int, default=50)
    parser.add_argument("--resolution", type=int, default=64)
    arguments = parser.parse_args()
    head = ("network", "elastic modules", "choices", "architectures", "whole vs original")
    print("| " + " | ".join([*head, "extracted vs active", "largest output", "s"]) + " |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.models:
        exactness(name, arguments.architectures, arguments.resolution)
    switching(arguments.resolution)


if __name__ == "__main__":
    main()
