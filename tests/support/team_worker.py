"""One of four processes on a study: ``python team_worker.py URL EVALUATIONS ROLE LOG [CHOICES OPTIONS]``.

Every evaluation is a line in LOG, before it is done. Nobody ends a first evaluation before all four have begun theirs,
however long a busy machine takes to start them. ``ROLE`` is ``coordinator``, ``worker``, or ``deadly``: a worker that
kills itself in the middle of its second evaluation.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import optuna
from fakes import NearestSurrogate, grid_evaluate, grid_problem

from nas.objective import Measurement
from nas.search import SurrogateSearch
from nas.search.loop import join, search
from nas.search.storage import open_study
from nas.search.workers import TeamWorker
from nas.space import Architecture

STUDY = "team"
_TEAM = 4
STRATEGY = SurrogateSearch(NearestSurrogate, num_startup=8, batch_size=4)


def main(url: str, evaluations: str, role: str, log: str, choices: str = "4", options: str = "4") -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    problem = grid_problem(int(choices), int(options))
    study = open_study(url, STUDY, problem.objectives, STRATEGY.sampler(problem, 0))
    mine = 0

    def evaluate(architecture: Architecture) -> Mapping[str, Measurement]:
        nonlocal mine
        mine += 1
        with Path(log).open("a") as stream:
            stream.write(f"{os.getpid()} {architecture.id}\n")
        if role == "deadly" and mine == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        while len({line.split()[0] for line in Path(log).read_text().splitlines()}) < _TEAM:
            time.sleep(0.05)
        time.sleep(0.05)  # stands for the evaluation
        return grid_evaluate(problem, architecture)

    worker = TeamWorker(study, coordinator=role == "coordinator", interval=0.5, grace=10.0, poll=0.2)
    if role == "coordinator":
        search(study, problem, evaluate, evaluations=int(evaluations), on_trial=lambda _: None, worker=worker)
    else:
        join(study, problem, evaluate, on_trial=lambda _: None, worker=worker)


if __name__ == "__main__":
    main(*sys.argv[1:])
