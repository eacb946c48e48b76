"""What winners lose that are chosen by the search's values, and by what candidates reach after a few steps of training.

    python -m benchmarks.adaptation --seeds 0 1 2 --out runs/bench

The digits study, accuracy against MACs. Of each seed's search the candidates near the front are adapted. Winners are
chosen among them by the search's values and by those of adaptation, as many as the study says. Those of either choice
are finished, or with ``--everything`` all near the front: what they reach so is the truth, of which a choice has the
best winner's regret and a share of the hypervolume; and its values agree with it by Kendall's tau. Goes on where it was
stopped.
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
from nas.runner.adapting import adapt_candidate
from nas.runner.choosing import choose_winners, near_front
from nas.runner.context import RunContext
from nas.runner.directory import RunDirectory
from nas.runner.fine_tuning import final_quality, finish_network
from nas.runner.measuring import CALIBRATION, Known
from nas.runner.preparation import prepare
from nas.runner.progress import Silent
from nas.runner.searching import search_architectures
from nas.runner.supernet_training import train_supernet
from nas.runner.workplace import Workplace
from nas.search.record.trials import architecture_of, measurements_of
from studies.digits import study

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--evaluations", type=int, default=study().evaluations)
    parser.add_argument("--candidates", type=int, default=24)
    parser.add_argument(
        "--everything", action="store_true", help="finish all near the front, not winners alone"
    )
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
        context = RunContext.alone(prepared, run, Silent())
        record = search_architectures(context, chosen.evaluations)
        print(f"seed {seed}: {chosen.evaluations} evaluations", flush=True)
        compare(Workplace(prepared, run, context.weights), record, arguments.candidates, arguments.everything)


def compare(here: Workplace, record: optuna.Study, count: int, everything: bool) -> None:
    """Print what is lost by either choice against all that were finished: those of either, or all near the front."""
    known, space = record.user_attrs[CALIBRATION], here.prepared.problem.space
    near = near_front(here.prepared, record, count)
    architectures = {trial.number: architecture_of(space, trial) for trial in near}
    reached = {number: adapt_candidate(one, known, here) for number, one in architectures.items()}
    by = {
        "search": {trial.number: measurements_of(trial)["accuracy"].value for trial in near},
        "adapted": {number: one.quality.value for number, one in reached.items()},
    }
    winners = {name: {t.number for t in choose_winners(here.prepared, record, by[name])} for name in by}
    compared = [
        trial for trial in near if everything or any(trial.number in found for found in winners.values())
    ]
    finished = [measure_finished_quality(here, architectures[trial.number], known) for trial in compared]
    truth = np.array([[1 - value, trial.values[1]] for value, trial in zip(finished, compared, strict=True)])
    for name, values in by.items():
        is_winner = np.array([trial.number in winners[name] for trial in compared])
        found = regret(truth, is_winner, np.zeros(len(compared)), sampled=False)
        tau = kendall_tau(np.array([values[trial.number] for trial in compared]), -truth[:, 0])
        print(
            f"  {name}: {len(winners[name])} winners among {len(compared)} finished, regret "
            f"{0 if found is None else 100 * found.best.value:.2f} points, front "
            f"{1 if found is None else found.front.value:.4f}, best {100 * (1 - truth[is_winner, 0].min()):.2f} %, tau "
            f"{tau:.2f}, values of {100 * min(values.values()):.2f} to {100 * max(values.values()):.2f} %",
            flush=True,
        )
    print(f"  adaptation took {sum(one.seconds for one in reached.values()):.0f} s", flush=True)


def measure_finished_quality(here: Workplace, architecture: Architecture, known: Known) -> float:
    """Return the quality of a candidate after all that winners go through; kept in a file."""
    path = here.run.path / "finished" / f"{architecture.id}.json"
    if not path.exists():
        made = finish_network(here.prepared, architecture, here.weights, known, path.with_suffix(""))
        path.parent.mkdir(exist_ok=True)
        write_json(path, final_quality(here.prepared, made.candidate(here.prepared), known).value)
    return float(read_json(path))


if __name__ == "__main__":
    main()
