"""Repeatability of a latency measurement over separate processes, raw and corrected by the reference.

    python -m benchmarks.latency_repeat --processes 10

Every process measures the largest network of the digits study, as the search does (short) and as it is
done for winners (long). Raw is the median of the network's own times, corrected what is reported.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import numpy as np

from nas.evaluation import LatencyMs, SubnetCandidate
from nas.evaluation.from_scratch import fresh_network
from nas.evaluation.latency import _Runner, _take_turns
from studies.digits import study

SHAPE = (1, 8, 8)


def measure(nominal_ms: float) -> None:
    """Print raw and corrected latency in ms, short and long."""
    supernet = fresh_network(study().network, 0)
    latency = LatencyMs()
    candidate = SubnetCandidate(supernet.extract(supernet.space.largest()), SHAPE)
    runner = _Runner(candidate.onnx_model, SHAPE, 1, 1)
    found = {}
    for name, seconds in (("short", latency.short_seconds), ("long", latency.long_seconds)):
        reference, times = _take_turns([latency._reference, runner], 2 * seconds)
        raw, base = float(np.median(times)), float(np.median(reference))
        found[name] = [1e3 * raw, nominal_ms * raw / base]
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--nominal-ms", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.nominal_ms is not None:
        measure(arguments.nominal_ms)
        return
    nominal = LatencyMs().calibrate()["reference_ms"]
    command = [sys.executable, "-m", "benchmarks.latency_repeat", "--nominal-ms", str(nominal)]
    found = [
        json.loads(
            subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()[-1]
        )
        for _ in range(arguments.processes)
    ]
    for name in ("short", "long"):
        values = np.array([one[name] for one in found])
        variation = values.std(axis=0, ddof=1) / values.mean(axis=0)
        print(
            f"{name}: {len(values)} processes, raw {values[:, 0].mean():.4f} ms, coefficient of variation "
            f"{100 * variation[0]:.1f} %; corrected {values[:, 1].mean():.4f} ms, {100 * variation[1]:.1f} %"
        )


if __name__ == "__main__":
    main()
