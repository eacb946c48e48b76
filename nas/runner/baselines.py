"""Methods that the search is compared with, which get as many evaluations and the same objectives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import optuna
from optuna.samplers import RandomSampler

from nas.executors import Rest
from nas.objective import Measurement
from nas.progress import RANDOM_SEARCH, UNIFORM_SCALING
from nas.report.results import Baseline
from nas.runner.by_hand import prune_by_hand
from nas.runner.compressing import compress_in_search
from nas.runner.context import RunContext
from nas.runner.measuring import Known, PartialEvaluation, calibration, evaluate_architecture
from nas.runner.preparation import Prepared
from nas.runner.searching import run_search_loop
from nas.runner.weights import train_alone
from nas.runner.workplace import Workplace, make_evaluation_work
from nas.search.record.reference_box import ReferenceBox, reference_box
from nas.search.record.trials import complete_trials, costs_of, list_paid_trials
from nas.space import Architecture
from nas.strategy import Problem

_LEVELS = 9
"""Members of a family from the smallest network to the largest. Chosen: each is trained from scratch, and choices
seldom have more options."""


def run_baselines(context: RunContext, record: optuna.Study) -> tuple[Baseline, ...]:
    """Run the baselines with as many evaluations as a search had, or read them back.

    Their trials are in studies beside the main one.

    Random search evaluates architectures exactly as the search did. Uniform scaling trains every member of
    the uniformly scaled family from scratch, with the supernet's recipe; a family has few members, so it
    spends fewer evaluations, each of them far dearer, and evaluates them on the whole search split.
    """
    prepared, run = context.prepared, context.run
    known, objectives = calibration(prepared, record), prepared.problem.objectives
    box, evaluations = reference_box(record, objectives), len(list_paid_trials(record))
    name, seed = prepared.study.name, prepared.study.seed
    random = run.open_study(f"{name}-random", objectives, RandomSampler(seed=seed), to_search=True)
    run_search_loop(
        context, random, make_evaluation_work(context.workers.home, random, known), evaluations, RANDOM_SEARCH
    )
    whole = uniform_family(prepared.problem)
    family = whole[:evaluations]
    uniform = run.open_study(f"{name}-uniform", objectives, RandomSampler(seed=seed), to_search=True)
    for architecture in family:  # also after a kill half-way through this loop: nothing else may be sampled
        uniform.enqueue_trial(dict(architecture), skip_if_exists=True)

    run_search_loop(
        context, uniform, lambda member: partial(_evaluate_alone, member, known), len(family), UNIFORM_SCALING
    )
    notes = {
        "random search": "with weights from the same source",
        "uniform scaling": f"{_tell_members(len(family), len(whole))} of the family, each trained from scratch",
    }
    found = tuple(
        _baseline(prepared, study, name, notes[name], box)
        for name, study in (("random search", random), ("uniform scaling", uniform))
    )
    return (*found, prune_by_hand(context, known, box))


def _tell_members(count: int, whole: int) -> str:
    return f"all {whole} members" if count == whole else f"the {count} smallest of {whole} members"


def _evaluate_alone(architecture: Architecture, known: Known, here: Workplace) -> Rest[Workplace]:
    """Train a member of the family from scratch and evaluate it."""
    prepared = here.prepared
    recipe, checkpoint = prepared.study.recipe_of(architecture), here.run.baselines / f"{architecture.id}.pt"
    module = train_alone(prepared, architecture, recipe, checkpoint)
    made = compress_in_search(prepared, architecture, module)
    return Rest(partial(_measure, evaluate_architecture(prepared, architecture, made, known), known))


def _measure(evaluation: PartialEvaluation, known: Known, here: Workplace) -> Mapping[str, Measurement]:
    return evaluation.on_devices(here.prepared, known)


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
