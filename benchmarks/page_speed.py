"""How long the page of a run with 5,000 trials takes until its front is drawn, in headless Chromium.

The front is drawn twice: as a still picture, and by plotly.js when the browser has read that.

Every round is a browser without a cache. The service's own first look at such a run, when it reads all trials from
the study's database, happens once per service and is printed by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np
from optuna.distributions import distribution_to_json

from benchmarks.browser import chromium, sign_in
from benchmarks.serving import Service
from nas import Supernet
from nas.files import write_json
from nas.search.record.storage import open_study
from nas.search.record.trials import distributions
from nas.service.store import Run, Store
from nas.space import Architecture
from studies.digits import study as digits

_RUN = "digits-00005000"
_BROWSER_START_MS = 3000  # a new profile loads pages of Chromium's own, which take a core for a while
_TIME = "name => performance.getEntriesByName(name)[0].startTime"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder / "runs" / _RUN, arguments.trials)
        service = Service(folder)
        service.start()
        try:
            add_run(folder, arguments.trials)
            measure(service, arguments.rounds)
        finally:
            service.signal(signal.SIGTERM)


def measure(service: Service, rounds: int) -> None:
    """Look at the run's page in fresh browsers, and print when its front was drawn."""
    began = time.perf_counter()
    complete = None
    while complete is None:
        with contextlib.suppress(httpx2.TimeoutException):  # on a busy machine
            complete = service.ask("GET", f"/runs/{_RUN}")["evaluations"]["complete"]
    print(f"{complete} trials; the service's first look at them: {time.perf_counter() - began:.2f} s")
    seconds: list[tuple[float, ...]] = []
    cpu_seconds: list[float] = []
    url = service.url.removesuffix("/api/v1")
    with chromium() as browser:
        for _ in range(rounds):
            context = sign_in(browser, url, service.token, viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.wait_for_timeout(_BROWSER_START_MS)
            inspector = context.new_cdp_session(page)
            inspector.send("Performance.enable")
            page.goto(f"{url}/runs/{_RUN}", wait_until="commit")
            page.wait_for_selector("#front[data-drawn]")
            times = {name: page.evaluate(_TIME, name) / 1000 for name in ("front-sketched", "front-drawn")}
            metrics = {m["name"]: m["value"] for m in inspector.send("Performance.getMetrics")["metrics"]}
            seconds.append(tuple(times.values()))
            cpu_seconds.append(metrics["ProcessTime"])
            print(
                f"  still picture after {times['front-sketched']:.2f} s, plot after {times['front-drawn']:.2f} s; "
                f"the page's process took {metrics['ProcessTime']:.2f} s of a core"
            )
            context.close()
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    for name, times in zip(
        ("the front as a still picture", "as a plot to hover over"), zip(*seconds, strict=True), strict=True
    ):
        print(f"{name}: median {statistics.median(times):.2f} s, worst {max(times):.2f} s")
    print(f"of a core: median {statistics.median(cpu_seconds):.2f} s (load averages {load})")


def write_run(path: Path, count: int) -> None:
    """Write what a search of that many evaluations leaves, with made-up measurements."""
    study = digits()
    space = Supernet(study.network()).space
    random = np.random.default_rng(0)
    found: dict[str, Architecture] = {}
    while len(found) < count:
        architecture = space.sample(random)
        found[architecture.id] = architecture
    objectives = tuple(o.objective for o in study.objectives)
    path.mkdir(parents=True)
    values = [{"name": o.name, "unit": o.unit, "direction": o.direction} for o in objectives]
    write_json(
        path / "run.json", {"study": study.name, "space": space.describe(), "values": values, "data": {}}
    )
    open_study(path / "study.db", study.name, objectives, None)
    size = random.random(count)
    quality = 1 - 0.12 * np.exp(-4 * size) - 0.03 * random.random(count)
    table = np.column_stack(
        [quality, np.round(1e4 + 1.5e6 * size**2), 0.015 + 0.05 * size + 0.01 * random.random(count)]
    )
    _insert(path / "study.db", space, list(found.values()), table, [o.name for o in objectives])


def _insert(
    database: Path, space: object, found: list[Architecture], table: np.ndarray, names: list[str]
) -> None:
    """Insert finished trials as Optuna stores them: one by one through its own calls they take ten minutes."""
    described = {name: (d, distribution_to_json(d)) for name, d in distributions(space).items()}  # type: ignore[arg-type]
    now = "2026-01-01 00:00:00.000000"
    with sqlite3.connect(database) as connection:
        numbered = range(1, len(found) + 1)
        connection.executemany(
            "INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) "
            "VALUES (?, ?, 1, 'COMPLETE', ?, ?)",
            [(id_, id_ - 1, now, now) for id_ in numbered],
        )
        connection.executemany(
            "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)",
            [
                (id_, name, d.to_internal_repr(architecture[name]), text)
                for id_, architecture in zip(numbered, found, strict=True)
                for name, (d, text) in described.items()
            ],
        )
        connection.executemany(
            "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, ?, ?, 'FINITE')",
            [
                (id_, at, value)
                for id_, row in zip(numbered, table.tolist(), strict=True)
                for at, value in enumerate(row)
            ],
        )
        connection.executemany(
            "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)",
            [
                (id_, key, json.dumps(value))
                for id_, architecture, row in zip(numbered, found, table.tolist(), strict=True)
                for key, value in (
                    ("architecture", architecture.id),
                    ("measurements", _make_measurements(names, row)),
                )
            ],
        )


def _make_measurements(names: list[str], row: list[float]) -> dict[str, dict[str, object]]:
    spreads = (0.008, 0.0, 0.0003)
    return {
        name: {"value": value, "spread": spread, "unit": "", "device": "", "repeats": 1}
        for name, value, spread in zip(names, row, spreads, strict=True)
    }


def add_run(folder: Path, count: int) -> None:
    """Tell the service about the run."""
    now = time.time()
    store = Store(f"sqlite:///{folder / 'service.db'}")
    store.add_run(
        Run(
            _RUN,
            "digits",
            {},
            count,
            "cpu",
            secrets.token_hex(6),
            "cancelled",
            now,
            started=now,
            finished=now,
        )
    )
    store.close()


if __name__ == "__main__":
    main()
