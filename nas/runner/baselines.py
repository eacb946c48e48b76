"""What the search is compared with, at equal evaluations and under the same objectives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import optuna
from optuna.samplers import RandomSampler

from nas.evaluation.from_scratch import train_from_scratch
from nas.objective import Measurement
from nas.protocols import RANDOM_SEARCH, UNIFORM_SCALING, Problem, Progress
from nas.report.results import Baseline
from nas.runner.by_hand import prune_by_hand
from nas.runner.compressing import compressed_in_search
from nas.runner.directory import RunDirectory
from nas.runner.measuring import Known, calibration, measurements
from nas.runner.preparation import Prepared
from nas.runner.searching import spend
from nas.runner.weights import Weights
from nas.runner.workplace import Workers, Workplace, judging, this_process
from nas.search.record import ReferenceBox, complete_trials, costs_of
from nas.space import Architecture

_LEVELS = 9


def run_baselines(
    prepared: Prepared,
    run: RunDirectory,
    record: optuna.Study,
    weights: Weights,
    box: ReferenceBox | None,
    evaluations: int,
    progress: Progress,
    workers: Workers | None = None,
) -> tuple[Baseline, ...]:
    """Run the baselines, or read them back; trials are in studies beside the main one.

    Random search judges architectures exactly as the search did. Uniform scaling trains every member of
    the uniformly scaled family from scratch, with the supernet's recipe; a family has few members, so it
    spends fewer evaluations, each of them far dearer, and judges them on the whole search split.
    """
    known = calibration(prepared, record)
    objectives = prepared.problem.objectives
    name, seed = prepared.study.name, prepared.study.seed
    random = run.open_study(f"{name}-random", objectives, RandomSampler(seed=seed))
    workers = workers or this_process(prepared, run, weights)
    spend(workers, prepared, random, judging(weights, random, known), evaluations, RANDOM_SEARCH, progress)
    family = uniform_family(prepared.problem)[:evaluations]
    uniform = run.open_study(f"{name}-uniform", objectives, RandomSampler(seed=seed))
    for architecture in family:  # also after a kill half-way through this loop: nothing else may be sampled
        uniform.enqueue_trial(dict(architecture), skip_if_exists=True)

    spend(
        workers,
        prepared,
        uniform,
        lambda architecture: partial(_judge_alone, architecture, known),
        len(family),
        UNIFORM_SCALING,
        progress,
    )
    notes = {
        "random search": "with weights from the same source",
        "uniform scaling": f"all {len(family)} members of the family, each trained from scratch",
    }
    found = tuple(
        _baseline(prepared, study, name, notes[name], box)
        for name, study in (("random search", random), ("uniform scaling", uniform))
    )
    return (*found, prune_by_hand(prepared, workers, known, box, progress))


def _judge_alone(architecture: Architecture, known: Known, here: Workplace) -> Mapping[str, Measurement]:
    """Train a member of the family from scratch and measure it."""
    prepared = here.prepared
    module = train_from_scratch(
        prepared.study.network,
        prepared.network_of(architecture),
        prepared.splits.train,
        prepared.splits.task,
        prepared.study.recipe_of(architecture),
        seed=prepared.study.seed,
        device=prepared.device,
        checkpoint=here.run.baselines / f"{architecture.id}.pt",
    )
    made = compressed_in_search(prepared, architecture, module)
    return measurements(prepared, architecture, made, known)


def uniform_family(problem: Problem) -> list[Architecture]:
    """Return feasible architectures with every choice at the same relative position, small to large."""
    levels = np.linspace(0, 1, _LEVELS)[:, None]
    rows = np.rint(levels * (problem.space.num_options - 1)).astype(np.int64)
    feasible = rows[problem.violation(problem.space.canonical(rows)) <= 0]
    return list(dict.fromkeys(problem.space.from_indices(feasible)))


def _baseline(
    prepared: Prepared, study: optuna.Study, name: str, note: str, box: ReferenceBox | None
) -> Baseline:
    trials = complete_trials(study)
    costs = costs_of(prepared.problem.objectives, trials)
    return Baseline(name, note, [list(t.values) for t in trials], box.history(costs) if box else [])
