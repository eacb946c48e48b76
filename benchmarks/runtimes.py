"""How the runtimes of this machine differ: ms per network, ratios, and whether they rank architectures alike.

    python -m benchmarks.runtimes

Every network takes turns with itself in the other runtimes' sessions, in one process. Then random architectures of the
digits study are measured as the search measures them, and each pair of runtimes is compared by Kendall's tau.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator

import numpy as np
import torch
import torchvision
from torch import nn

from nas.agreement import kendall_tau
from nas.devices import Device, Mnn, OnnxRuntime, OpenVino
from nas.evaluation import LatencyMs, SubnetCandidate
from nas.evaluation.from_scratch import fresh_network
from nas.evaluation.onnx_export import export_onnx
from nas.objectives import Bench
from nas.splits import Split
from studies.digits import study

DIGITS, PHOTO = (1, 8, 8), (3, 96, 96)
ROUNDS = 5
"""Times that each runtime gets its turn with each network."""


def networks() -> Iterator[tuple[str, bytes]]:
    torch.manual_seed(0)
    supernet = fresh_network(study().network, 0)
    for name, architecture in (
        ("smallest", supernet.space.smallest()),
        ("largest", supernet.space.largest()),
    ):
        yield f"digits, {name}", export_onnx(supernet.extract(architecture).eval(), DIGITS)
    for name in ("mobilenet_v2", "resnet18"):
        network: nn.Module = getattr(torchvision.models, name)(weights=None)
        yield f"{name}, 96x96", export_onnx(network.eval(), PHOTO)


def milliseconds(device: Device, models: list[bytes]) -> list[float]:
    """Return the median of a few turns for each network."""
    with device.open(models, 1) as session:
        seconds = session.time(list(range(len(models))) * 3, 5).seconds
    return [1e3 * float(np.median(seconds[row :: len(models)])) for row in range(len(models))]


def compare_networks(devices: list[Device]) -> None:
    names, models = zip(*networks(), strict=True)
    rounds = [[milliseconds(device, list(models)) for device in devices] for _ in range(ROUNDS)]
    median = np.median(np.array(rounds), axis=0)
    print("| network |" + "".join(f" {type(d).__name__} |" for d in devices))
    print("|---|" + "---|" * len(devices))
    for name, row in zip(names, median.T, strict=True):
        cells = [f" {ms:.3f} ms ({ms / row[0]:.2f}) |" for ms in row]
        print(f"| {name} |" + "".join(cells))


def compare_rankings(devices: list[Device], count: int) -> None:
    supernet = fresh_network(study().network, 0)
    architectures = supernet.space.from_indices(
        supernet.space.sample_indices(count, np.random.default_rng(0))
    )
    candidates = [SubnetCandidate(supernet.extract(a).eval(), DIGITS) for a in architectures]
    split = Split(torch.zeros(2, *DIGITS), torch.zeros(2, dtype=torch.int64))
    found = []
    for device in devices:
        latency = LatencyMs(device)
        bench = Bench(split, thorough=False, calibration=latency.calibrate())
        found.append(np.array([latency.measure([one], bench)[0].value for one in candidates]))
        spread = [f"{value:.3f}" for value in np.quantile(found[-1], (0, 0.5, 1))]
        print(
            f"{type(device).__name__}: {count} architectures take {' / '.join(spread)} ms (least, median, most)"
        )
    for one, other in itertools.combinations(range(len(devices)), 2):
        tau = kendall_tau(found[one], found[other])
        print(
            f"Kendall's tau of {type(devices[one]).__name__} and {type(devices[other]).__name__}: {tau:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", type=int, default=20)
    arguments = parser.parse_args()
    devices: list[Device] = [OnnxRuntime(), OpenVino(), Mnn()]
    for device in devices:
        print(device.identity())
    compare_networks(devices)
    compare_rankings(devices, arguments.architectures)


if __name__ == "__main__":
    main()
