"""Seconds until a command answers, and the memory of a service that nobody uses.

    python -m benchmarks.start --run runs/digits

Commands that neither train nor search import no torch. Without ``--run``, only those that need no run are timed.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.serving import Service

_SETTLE_S = 10  # the catalogue is read by a child process, and the newest runs are looked at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--run", type=Path, help="A run directory, for the commands that read one.")
    parser.add_argument("--times", type=int, default=5, help="How often each command is started.")
    arguments = parser.parse_args()
    commands = [["--help"], ["--version"], ["studies"]]
    if arguments.run is not None:
        commands += [["status", str(arguments.run)], ["front", str(arguments.run), "--json"]]
    for words in commands:
        taken = [seconds_of(words) for _ in range(arguments.times)]
        waited, worked = (statistics.median(column) for column in zip(*taken, strict=True))
        print(f"nas {words[0]:10} {waited:6.2f} s, {worked:.2f} s of a core (medians of {arguments.times})")
    megabytes, ready = idle_service()
    print(f"nas serve      {ready:6.2f} s until it answers; idle, it holds {megabytes:.0f} MB")


def seconds_of(words: list[str]) -> tuple[float, float]:
    """Return how long ``nas`` takes with these words, and how long it keeps a core busy."""
    begin, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-m", "nas", *words], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begin, busy


def idle_service() -> tuple[float, float]:
    """Return the megabytes that a service without runs holds, and the seconds until it answers."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder), NAS_STUDIES="studies")
        begin = time.perf_counter()
        service.start()
        ready = time.perf_counter() - begin
        time.sleep(_SETTLE_S)
        megabytes = service.rss_bytes() / 1e6
        service.signal(signal.SIGTERM)
    return megabytes, ready


if __name__ == "__main__":
    main()
