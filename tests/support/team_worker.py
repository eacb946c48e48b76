"""One of several processes on a study: ``python team_worker.py URL EVALUATIONS ROLE LOG [CHOICES OPTIONS]``.

Every evaluation is a line in LOG, before it is done. ``ROLE`` is ``coordinator``, ``worker``, or ``deadly``: a worker
that kills itself in the middle of its third evaluation.
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
        if role == "deadly" and mine == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(
            0.05
        )  # stands for the evaluation: without it one worker would be done before the others began
        return grid_evaluate(problem, architecture)

    worker = TeamWorker(study, coordinator=role == "coordinator", interval=0.5, grace=10.0, poll=0.2)
    if role == "coordinator":
        search(study, problem, evaluate, evaluations=int(evaluations), on_trial=lambda _: None, worker=worker)
    else:
        join(study, problem, evaluate, on_trial=lambda _: None, worker=worker)


if __name__ == "__main__":
    main(*sys.argv[1:])
