"""What winners lose that are chosen by the search's values, and by what candidates reach after a few steps of training.

    python -m benchmarks.adaptation --seeds 0 1 2 --out runs/bench

The digits study, accuracy against MACs. Of each seed's search the candidates near the front are adapted, and all of
them are finished as winners are: what they reach so is the truth. Winners are chosen by the search's values and by
those of adaptation, as many as the study says; of either choice the table has the best winner's regret and the share of
the hypervolume of all, and Kendall's tau of the values with the truth. Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import optuna
import torch

from nas import Accuracy, Architecture, Macs
from nas.agreement import kendall_tau
from nas.files import read_json, write_json
from nas.regret import regret
from nas.runner.adapting import adapted
from nas.runner.choosing import choose_winners, near_front
from nas.runner.directory import RunDirectory
from nas.runner.finishing import final_quality, finished_network
from nas.runner.measuring import CALIBRATION, Known
from nas.runner.preparation import prepare
from nas.runner.progress import Silent
from nas.runner.searching import search_architectures
from nas.runner.supernet_training import train_supernet
from nas.runner.weights import SupernetWeights
from nas.runner.workplace import Workplace
from nas.search.record import architecture_of, measurements_of
from studies.digits import study

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--evaluations", type=int, default=study().evaluations)
    parser.add_argument("--candidates", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    for seed in arguments.seeds:
        chosen = dataclasses.replace(
            study(), seed=seed, objectives=(Accuracy(), Macs()), evaluations=arguments.evaluations
        )
        prepared, run = prepare(chosen, CPU), RunDirectory(arguments.out / f"adaptation-{seed}")
        train_supernet(prepared, run, Silent())
        here = Workplace(prepared, run, SupernetWeights(prepared, run))
        record = search_architectures(prepared, run, here.weights, chosen.evaluations, Silent())
        print(f"seed {seed}: {chosen.evaluations} evaluations", flush=True)
        compare(here, record, arguments.candidates)


def compare(here: Workplace, record: optuna.Study, count: int) -> None:
    """Print what is lost by either choice among the candidates near the front."""
    known, space = record.user_attrs[CALIBRATION], here.prepared.problem.space
    near = near_front(here.prepared, record, count)
    architectures = {trial.number: architecture_of(space, trial) for trial in near}
    searched = {trial.number: measurements_of(trial)["accuracy"] for trial in near}
    reached = {number: adapted(one, known, here) for number, one in architectures.items()}
    finished = {number: finished_quality(here, one, known) for number, one in architectures.items()}
    truth = np.array([[1 - finished[trial.number], trial.values[1]] for trial in near])
    seconds = sum(one.seconds for one in reached.values())
    qualities = {number: one.quality.value for number, one in reached.items()}
    before = {number: one.value for number, one in searched.items()}
    for name, values in (("search", before), ("adapted", qualities)):
        winners = {trial.number for trial in choose_winners(here.prepared, record, values)}
        is_winner = np.array([trial.number in winners for trial in near])
        found = regret(truth, is_winner, np.zeros(len(near)), sampled=False)
        assert found is not None
        tau = kendall_tau(np.array([values[trial.number] for trial in near]), -truth[:, 0])
        print(
            f"  {name}: tau {tau:.2f} of {len(near)}, regret {100 * found.best.value:.2f} points, front "
            f"{found.front.value:.4f}, best {100 * max(finished[n] for n in winners):.2f} %, values from "
            f"{100 * min(values.values()):.2f} to {100 * max(values.values()):.2f} %",
            flush=True,
        )
    print(f"  adaptation took {seconds:.0f} s", flush=True)


def finished_quality(here: Workplace, architecture: Architecture, known: Known) -> float:
    """Return the quality of a candidate after all that winners go through; kept in a file."""
    path = here.run.path / "finished" / f"{architecture.id}.json"
    if not path.exists():
        made = finished_network(here.prepared, architecture, here.weights, known, path.with_suffix(""))
        path.parent.mkdir(exist_ok=True)
        write_json(path, final_quality(here.prepared, made.candidate(here.prepared), known).value)
    return float(read_json(path))


if __name__ == "__main__":
    main()
