"""What one evaluation of the search is spent on, and what it was with the accuracy taken by PyTorch.

    python -m benchmarks.evaluation_cost --data $NAS_DATA

Random architectures of ``benchmarks/fashion.py`` (28 by 28 pixels, up to 3.7 million MACs), 2,000 images to judge
on, one core. The weights are random: they change no time. Means over the architectures; proposing them is left out
(``benchmarks/search_overhead.py``).
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from benchmarks.fashion import FashionSubset, fashion_network
from nas import Accuracy, LatencyMs
from nas.evaluation import SubnetCandidate
from nas.evaluation.from_scratch import fresh_network
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objectives import Bench
from nas.supernet import recalibrate
from nas.supernet.recalibrate import recalibration_batches


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--architectures", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    splits = FashionSubset(arguments.data).load()
    supernet = fresh_network(fashion_network, 0)
    accuracy, latency = MeasuredQuality(Accuracy()), LatencyMs()
    bench = Bench(splits.search, thorough=False, calibration=latency.calibrate())
    spent: dict[str, float] = defaultdict(float)
    drawn = supernet.space.sample_indices(arguments.architectures + 1, np.random.default_rng(0))
    for number, architecture in enumerate(supernet.space.from_indices(drawn)):
        clock = _Clock()
        module = supernet.extract(architecture).to(memory_format=torch.channels_last)  # as the search does
        clock.note("extract")
        recalibrate(module, recalibration_batches(splits.train))
        clock.note("recalibrate")
        candidate = SubnetCandidate(module, splits.inputs)
        accuracy.measure([candidate], bench)
        clock.note("accuracy by PyTorch")
        candidate.onnx_model  # noqa: B018 # exported on first use
        clock.note("export")
        latency.measure([candidate], bench)
        clock.note("latency")
        exported = SubnetCandidate(module, splits.inputs, runs_exported=True)
        exported.onnx_model = candidate.onnx_model  # that was paid for
        accuracy.measure([exported], bench)
        clock.note("accuracy by ONNX Runtime")
        if number > 0:  # the first pays for what the others find ready
            for name, seconds in clock.seconds.items():
                spent[name] += 1e3 * seconds / arguments.architectures
    for name, milliseconds in spent.items():
        print(f"{name}: {milliseconds:.0f} ms")
    whole = sum(spent.values())
    now, before = whole - spent["accuracy by PyTorch"], whole - spent["accuracy by ONNX Runtime"]
    print(f"an evaluation: {now:.0f} ms; with the accuracy by PyTorch {before:.0f} ms")


class _Clock:
    """Seconds since the last note, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def note(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now


if __name__ == "__main__":
    main()
