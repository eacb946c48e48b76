"""Fifty clients watch a running study: how long do their reads take, and does the study notice?

    python -m benchmarks.service_load --clients 50 --seconds 60

Every client keeps an event stream open and reads the front once a second. Quiet and loaded spells take turns, so that
both see the same other work of the machine; the study's pace is counted in evaluations that were finished in each.
The clients run in a process of their own on the same machine, and so take their part of its cores too; their cost is
shown. Reads wait for a core where others keep all of them busy, so what the service spends is shown as well: seconds
of a core per read, the event streams included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import statistics
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.serving import Service

_SPELL_S = 10.0
_WARM_UP_TRIALS = 40


async def request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, head: str
) -> tuple[int, bytes]:
    """Send a GET on an open connection and return status and body."""
    writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    lines = answer.decode().lower().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def client(
    url: str, run: str, token: str, seconds: float, seed: int
) -> tuple[list[float], int, list[int]]:
    """Watch a run and return the seconds of each read, the number of events, and statuses that weren't 200."""
    address = urlsplit(url)
    head = f"Host: {address.netloc}\r\nAuthorization: Bearer {token}\r\n"
    await asyncio.sleep(random.Random(seed).uniform(0, 1))
    watch_reader, watch_writer = await asyncio.open_connection(address.hostname, address.port)
    watch_writer.write(f"GET {address.path}/runs/{run}/events?after=1000000 HTTP/1.1\r\n{head}\r\n".encode())
    num_events = 0

    async def watch() -> None:
        nonlocal num_events
        while piece := await watch_reader.read(65536):
            num_events += piece.count(b"event: ")

    watching = asyncio.create_task(watch())
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    spent, wrong = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.perf_counter()
        status, _ = await request(reader, writer, f"{address.path}/runs/{run}/front", head)
        spent.append(time.perf_counter() - begin)
        if status != 200:
            wrong.append(status)
        await asyncio.sleep(max(0.0, 1 - spent[-1]))
    watching.cancel()
    watch_writer.close()
    writer.close()
    return spent, num_events, wrong


def clients(url: str, run: str, token: str, count: int, seconds: float, answer: Any) -> None:
    """Be ``count`` clients for some seconds, in a process of their own."""

    async def together() -> list[tuple[list[float], int, list[int]]]:
        return await asyncio.gather(*(client(url, run, token, seconds, n) for n in range(count)))

    begin = time.process_time()
    found = asyncio.run(together())
    answer.put(
        {
            "reads": [s for spent, _, _ in found for s in spent],
            "events": sum(events for _, events, _ in found),
            "wrong": [status for _, _, statuses in found for status in statuses],
            "cpu_s": time.process_time() - begin,
        }
    )


def count_finished(database: Path) -> int:
    """Return how many trials are finished, without getting in anybody's way."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        return int(connection.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'").fetchone()[0])
    finally:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0, help="Under load, over all spells.")
    parser.add_argument("--out", type=Path, default=Path("runs/service-load"))
    arguments = parser.parse_args()
    folder = arguments.out.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    service = Service(folder)
    service.start()
    run = service.ask("POST", "/runs", {"study": "long"})["id"]
    database = folder / "runs" / run / "study.db"
    while service.ask("GET", f"/runs/{run}")["evaluations"]["complete"] < _WARM_UP_TRIALS:
        time.sleep(1)
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    reads: list[float] = []
    wrong: list[int] = []
    pace: dict[bool, list[float]] = {True: [], False: []}
    events, cpu_s, service_cpu_s = 0, 0.0, 0.0
    num_pairs = max(1, round(arguments.seconds / _SPELL_S))
    for turn in range(2 * num_pairs):
        is_loaded = turn % 4 in (1, 2)  # quiet, loaded, loaded, quiet: a drift of the machine cancels out
        process = None
        service_cpu_s -= service.cpu_s() if is_loaded else 0.0
        if is_loaded:
            process = context.Process(
                target=clients,
                args=(service.url, run, service.token, arguments.clients, _SPELL_S + 4, answers),
            )
            process.start()
            time.sleep(3)  # until they have all arrived
        before, begin = count_finished(database), time.monotonic()
        time.sleep(_SPELL_S)
        pace[is_loaded].append((count_finished(database) - before) / (time.monotonic() - begin))
        if process is not None:
            found = answers.get()
            process.join()
            reads += found["reads"]
            wrong += found["wrong"]
            events, cpu_s = events + found["events"], cpu_s + found["cpu_s"]
            service_cpu_s += service.cpu_s()
    service.ask("POST", f"/runs/{run}/cancel")
    code = service.signal(signal.SIGTERM)
    reads.sort()
    quiet, loaded = statistics.mean(pace[False]), statistics.mean(pace[True])
    told = {
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "clients": arguments.clients,
        "reads": len(reads),
        "not_200": len(wrong),
        "events": events,
        "p50_ms": round(1000 * reads[len(reads) // 2], 1),
        "p95_ms": round(1000 * reads[int(0.95 * len(reads))], 1),
        "p99_ms": round(1000 * reads[int(0.99 * len(reads))], 1),
        "service_cpu_ms_per_read": round(1000 * service_cpu_s / len(reads), 2),
        "clients_cpu_share": round(cpu_s / (num_pairs * (_SPELL_S + 4)), 3),
        "evaluations_per_s_quiet": [round(p, 2) for p in pace[False]],
        "evaluations_per_s_loaded": [round(p, 2) for p in pace[True]],
        "slowed_by_percent": round(100 * (1 - loaded / quiet), 1),
        "exit_code": code,
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
