"""Repeatability of a latency measurement over separate processes, and whether its stated intervals hold.

    python -m benchmarks.latency_repeat --processes 10 --busy

Every process measures two networks of the digits study, its largest and its smallest, as the search does (short)
and as it is done for winners (long), by the same calibration. With ``--busy`` it is done once more while a process
on each core computes all the time.

Raw is the median of the network's own times, corrected is what is reported. Two shares are printed of the stated 95 %
intervals, value ± 1.96 spreads: of those that hold the mean of the other processes' values, and, of all pairs
of processes, of those where the one's interval holds the other's value.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from nas.devices import Device, OnnxRuntime, Session, Timings
from nas.evaluation import LatencyMs, OnnxCandidate, SubnetCandidate
from nas.evaluation.from_scratch import fresh_network
from nas.objectives import Bench
from nas.splits import Split
from studies.digits import study

SHAPE = (1, 8, 8)
NETWORKS = ("largest", "smallest")
SPIN = "while True: pass"


@dataclass(frozen=True)
class Noting:
    """A device that keeps the times of the last network in each round."""

    device: Device
    noted: list[float] = field(default_factory=list, repr=False)

    def identity(self) -> str:
        """Return the device's own."""
        return self.device.identity()

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        """Open a session of the device."""
        with self.device.open(models, batch_size) as session:
            yield NotingSession(session, len(models) - 1, self.noted)


@dataclass
class NotingSession:
    """A session that adds the times of one network to a list."""

    session: Session
    position: int
    noted: list[float]

    def time(self, order: Sequence[int], runs: int) -> Timings:
        """Run networks in turns."""
        timings = self.session.time(order, runs)
        self.noted += timings.seconds[np.array(order) == self.position].ravel().tolist()
        return timings


def measure(folder: Path) -> None:
    """Print raw and corrected latency in ms, spread, and the seconds that it took, by network and time."""
    calibration = json.loads((folder / "calibration.json").read_text())
    found = {}
    for network in NETWORKS:
        candidate = OnnxCandidate(folder / f"{network}.onnx")
        for thorough in (False, True):
            device = Noting(OnnxRuntime())
            bench = Bench(Split(torch.zeros(1, *SHAPE), torch.zeros(1)), thorough, calibration)
            begin = time.perf_counter()
            measured = LatencyMs(device).measure([candidate], bench)[0]
            seconds = time.perf_counter() - begin
            raw = 1e3 * float(np.median(device.noted))
            found[f"{network}, {'long' if thorough else 'short'}"] = (
                raw,
                measured.value,
                measured.spread,
                seconds,
            )
    print(json.dumps(found))


@contextlib.contextmanager
def busy_cores(are_busy: bool) -> Iterator[None]:
    """Keep each core busy until the end of the block."""
    spinners = [
        subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(os.cpu_count() or 1) if are_busy
    ]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def report(host: str, found: Sequence[dict[str, Sequence[float]]]) -> None:
    """Print a line for each network and time."""
    for name in found[0]:
        raw, values, spreads, seconds = np.array([one[name] for one in found]).T
        count = len(values)
        others = (values.sum() - values) / (count - 1)
        covered = np.abs(values - others) <= 1.96 * spreads
        pairs = np.abs(values[:, None] - values) <= 1.96 * spreads[:, None]
        print(
            f"{host}, {name}: {count} processes, raw {raw.mean():.4f} ms, coefficient of variation "
            f"{variation(raw):.1f} %; corrected {values.mean():.4f} ms, {variation(values):.2f} %; stated spread "
            f"{100 * np.median(spreads / values):.2f} %; intervals hold the others' mean {100 * covered.mean():.0f} %, "
            f"another's value {100 * (pairs.sum() - count) / (count * (count - 1)):.0f} %; "
            f"{np.median(seconds):.2f} s each",
            flush=True,
        )


def variation(values: np.ndarray) -> float:
    """Return the coefficient of variation in percent."""
    return float(100 * values.std(ddof=1) / values.mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument(
        "--busy", action="store_true", help="once more with a process that computes on each core"
    )
    parser.add_argument("--measure-in", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure_in is not None:
        measure(arguments.measure_in)
        return
    supernet = fresh_network(study().network, 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network, architecture in zip(
            NETWORKS, (supernet.space.largest(), supernet.space.smallest()), strict=True
        ):
            candidate = SubnetCandidate(supernet.extract(architecture), SHAPE)
            (folder / f"{network}.onnx").write_bytes(candidate.onnx_model)
        calibration = LatencyMs(Noting(OnnxRuntime())).calibrate()
        (folder / "calibration.json").write_text(json.dumps(calibration))
        command = [sys.executable, "-m", "benchmarks.latency_repeat", "--measure-in", name]
        for is_busy in (False, True) if arguments.busy else (False,):
            host, found = "busy host" if is_busy else "host as it is", []
            with busy_cores(is_busy):
                for number in range(arguments.processes):
                    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                    found.append(json.loads(done.stdout))
                    print(f"{host}: {number + 1} of {arguments.processes}", file=sys.stderr, flush=True)
            report(host, found)


if __name__ == "__main__":
    main()
