"""What ``Supernet.from_module`` makes of networks for segmentation that exist, and how exact it is.

Random weights. The smallest subnet is exported too, and ONNX Runtime's outputs are compared with its own.

python -m benchmarks.segmentation_networks [--networks fcn_resnet50 ...] [--architectures 50] [--side 64]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import onnxruntime as ort
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torchvision.models import segmentation

from nas.evaluation.counts import count_macs
from nas.evaluation.onnx_export import export_onnx
from nas.supernet import OneOutput, Supernet

_CLASSES = 11


def _torchvision(name: str) -> nn.Module:
    return OneOutput(
        getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=_CLASSES), "out"
    )


def _smp(kind: str, encoder: str) -> nn.Module:
    made: nn.Module = getattr(smp, kind)(encoder_name=encoder, encoder_weights=None, classes=_CLASSES)
    return made


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{
        name: partial(_torchvision, name)
        for name in (
            "lraspp_mobilenet_v3_large",
            "deeplabv3_mobilenet_v3_large",
            "deeplabv3_resnet50",
            "fcn_resnet50",
        )
    },
    "smp Unet resnet18": partial(_smp, "Unet", "resnet18"),
    "smp DeepLabV3Plus resnet18": partial(_smp, "DeepLabV3Plus", "resnet18"),
    "smp DeepLabV3Plus mobilenet_v2": partial(_smp, "DeepLabV3Plus", "mobilenet_v2"),
}


def build(name: str, side: int) -> nn.Module:
    """Return the network in evaluation mode, with batch-norm statistics in which no signal dies."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    with torch.no_grad():
        network.train()(torch.randn(8, 3, side, side))
    return network.eval()


@torch.no_grad()
def exactness(name: str, count: int, side: int) -> str:
    """Return the network's row of the table."""
    network, images = build(name, side), torch.randn(2, 3, side, side)
    begin = time.perf_counter()
    supernet = Supernet.from_module(network, images)
    seconds = time.perf_counter() - begin
    assert supernet.report is not None
    original = network(images)
    rng, gaps = np.random.default_rng(0), []
    for _ in range(count):
        architecture = supernet.space.sample(rng)
        with supernet.active(architecture):
            active = supernet(images)
        gaps.append(_gap(active, supernet.extract(architecture)(images)))
    smallest = supernet.extract(supernet.space.smallest())
    share = count_macs(smallest, (3, side, side)) / count_macs(network, (3, side, side))
    cells = (
        name,
        f"{len(supernet.report.elastic)} of {len(supernet.report.rows)}",
        str(len(supernet.space.choices)),
        f"{supernet.space.cardinality():.1e}",
        f"{share:.2f}",
        f"{_gap(original, supernet(images)):.1e}",
        f"{max(gaps):.1e}",
        f"{sum(gap == 0 for gap in gaps)} of {count}",
        f"{_gap(smallest(images), _run_exported(smallest, images)):.1e}",
        f"{float(original.abs().max()):.2g}",
        f"{seconds:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _run_exported(module: nn.Module, images: Tensor) -> Tensor:
    session = ort.InferenceSession(export_onnx(module, tuple(images.shape[1:])))
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


def _gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--architectures", type=int, default=50)
    parser.add_argument("--side", type=int, default=64)
    arguments = parser.parse_args()
    head = (
        "network",
        "elastic modules",
        "choices",
        "architectures",
        "MACs of the smallest",
        "whole vs original",
        "extracted vs active",
        "of them equal",
        "smallest in ONNX Runtime",
        "largest output",
        "s",
    )
    print(f"| {' | '.join(head)} |")
    print(f"|{'---|' * len(head)}")
    for name in arguments.networks:
        print(exactness(name, arguments.architectures, arguments.side), flush=True)


if __name__ == "__main__":
    main()
