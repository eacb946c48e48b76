"""Extracted against active subnets, and what it costs to switch and to extract.

python -m benchmarks.extraction
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from nas.data import Digits
from nas.evaluation.from_scratch import fresh_network
from nas.supernet import recalibrate
from studies.digits import study


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    supernet = fresh_network(study().network, 0).eval()
    splits = Digits().load()
    batches = list(splits.train.inputs[:256].split(128))
    rng = np.random.default_rng(0)
    architectures = [supernet.space.sample(rng) for _ in range(200)]
    worst = 0.0
    for architecture in architectures:
        with supernet.active(architecture), torch.no_grad():
            recalibrate(supernet, batches)
            shared = supernet(splits.search.inputs)
        with torch.no_grad():
            alone = supernet.extract(architecture)(splits.search.inputs)
        worst = max(worst, (shared - alone).abs().max().item())
    print(f"extracted vs active, {len(architectures)} random architectures: max abs difference {worst:.1e}")
    for name, act in (("switch", supernet.active), ("extract", supernet.extract)):
        seconds = []
        for architecture in architectures:
            begin = time.perf_counter()
            made = act(architecture)
            if name == "switch":
                with made:
                    seconds.append(time.perf_counter() - begin)
            else:
                seconds.append(time.perf_counter() - begin)
        print(f"{name}: median {1e3 * np.median(seconds):.2f} ms")


if __name__ == "__main__":
    main()
