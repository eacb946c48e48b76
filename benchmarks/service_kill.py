"""Kill the service with SIGKILL at random moments and see whether its studies lose anything.

    python -m benchmarks.service_kill --times 10

Each turn starts the service on the same folder, queues a study, and kills the service at a random moment; in every
second turn the processes of the studies are killed too, as when a machine dies. At the end every study must be
finished: each evaluation once, each trial that was finished at a kill unchanged, the winners' files complete.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

import optuna
import psutil

import nas
from benchmarks.serving import Service
from benchmarks.short_study import study
from nas.search.record.trials import ARCHITECTURE, complete_trials

Finished = dict[int, tuple[str, list[float]]]


def load(run: Path) -> optuna.Study | None:
    """Return the record of a run, None before there is one."""
    if not (run / "study.db").exists():
        return None
    try:
        return optuna.load_study(study_name=study().name, storage=f"sqlite:///{run / 'study.db'}")
    except Exception:  # it is being made this moment
        return None


def read_finished_trials(run: Path) -> Finished:
    """Return architecture and values of the finished trials by number."""
    record = load(run)
    return (
        {}
        if record is None
        else {t.number: (t.user_attrs[ARCHITECTURE], t.values) for t in complete_trials(record)}
    )


def faults(run: Path, before: list[Finished]) -> list[str]:
    """Return what is wrong with a finished run."""
    record = load(run)
    if record is None:
        return ["no record"]
    after = read_finished_trials(run)
    found = []
    if len(after) != study().evaluations or len(record.trials) != study().evaluations:
        found.append(f"{len(after)} finished of {len(record.trials)} trials")
    if len({architecture for architecture, _ in after.values()}) != len(after):
        found.append("an architecture was evaluated twice")
    if any(after.get(number) != values for known in before for number, values in known.items()):
        found.append("a finished trial changed")
    for folder in (p for p in (run / "winners").iterdir() if p.is_dir()):
        nas.load(folder)
        if not (folder / "README.md").exists():
            found.append(f"{folder.name} has no card")
    return found


def kill_runs(folder: Path) -> int:
    """Kill the processes of the folder's runs and return how many there were."""
    killed = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            words = process.cmdline()
            if words[1:4] == ["-m", "nas", "run"] and str(folder) in " ".join(words):
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
    return killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=20.0, help="Seconds a service lives, at most.")
    parser.add_argument("--out", type=Path, default=Path("runs/service-kill"))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = arguments.out.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    rng = random.Random(arguments.seed)
    service = Service(folder)
    known: dict[str, list[Finished]] = {}
    for turn in range(arguments.times):
        service.start()
        run = service.ask("POST", "/runs", {"study": "short", "seed": turn})["id"]
        known[run] = []
        alive = rng.uniform(0, arguments.longest)
        time.sleep(alive)
        running = [
            r["stage"] or "start" for r in service.ask("GET", "/runs")["runs"] if r["state"] == "running"
        ]
        service.signal(signal.SIGKILL)
        killed = kill_runs(folder) if turn % 2 else 0
        for name, states in known.items():
            states.append(read_finished_trials(folder / "runs" / name))
        print(
            f"{turn + 1:>2}: killed after {alive:4.1f} s, running: {', '.join(running) or 'nothing'}; "
            f"{killed} runs killed with it",
            flush=True,
        )
    service.start()
    while True:
        runs = service.ask("GET", "/runs?limit=100")["runs"]
        if not [run for run in runs if run["state"] in ("queued", "running")]:
            break
        time.sleep(1)
    good = 0
    for run in reversed(runs):
        found = faults(folder / "runs" / run["id"], known[run["id"]])
        if run["state"] != "finished":
            found.append(f"{run['state']}: {run['last_words']}")
        good += not found
        print(
            f"{run['id']}: {run['restarts']} restarts; {'; '.join(found) or 'finished, nothing lost or doubled'}"
        )
    begin = time.perf_counter()
    code = service.signal(signal.SIGTERM)
    print(f"{good} of {len(runs)} studies finished with nothing lost or doubled")
    print(f"SIGTERM: the service ended with code {code} after {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
