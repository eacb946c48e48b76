"""Hypervolume of the search against random search in the same supernet, at equal evaluations.

    python -m benchmarks.front_vs_random --seeds 5 --out runs/bench

Both judge architectures in the same way; the box is fixed by the search's first ten evaluations.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna.samplers import RandomSampler

from nas.runner.context import RunContext
from nas.runner.directory import RunDirectory
from nas.runner.measuring import calibration
from nas.runner.preparation import prepare
from nas.runner.progress import Silent
from nas.runner.searching import run_search_loop, search_architectures
from nas.runner.supernet_training import train_supernet
from nas.runner.workplace import make_evaluation_work
from nas.search.record.reference_box import reference_box
from nas.search.record.storage import open_study
from nas.search.record.trials import complete_trials, costs_of
from studies.digits import study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    marks = (25, 50, 100, 150)
    print(
        "seed | " + " | ".join(f"ours {m}" for m in marks) + " | " + " | ".join(f"random {m}" for m in marks)
    )
    wins = 0
    for seed in range(arguments.seeds):
        chosen = dataclasses.replace(study(), seed=seed)
        prepared = prepare(chosen, torch.device("cpu"))
        run = RunDirectory(arguments.out / f"digits-{seed}")
        train_supernet(prepared, run, Silent())
        context = RunContext.alone(prepared, run, Silent())
        ours = search_architectures(context, chosen.evaluations)
        objectives = prepared.problem.objectives
        random = open_study(run.database, "random", objectives, RandomSampler(seed=seed))
        work_of = make_evaluation_work(context.workers.home, random, calibration(prepared, ours))
        run_search_loop(context, random, work_of, chosen.evaluations, "random")
        box = reference_box(ours, objectives)
        assert box is not None
        volumes = [
            [box.hypervolume(costs_of(objectives, complete_trials(s))[:mark]) for mark in marks]
            for s in (ours, random)
        ]
        wins += volumes[0][-1] > volumes[1][-1]
        print(f"{seed} | " + " | ".join(f"{v:.4f}" for v in np.concatenate(volumes)), flush=True)
    print(f"ours above random at {marks[-1]} evaluations in {wins} of {arguments.seeds} seeds")


if __name__ == "__main__":
    main()
