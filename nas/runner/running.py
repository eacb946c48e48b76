"""A run from beginning to end. The same call again resumes it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from nas.devices.machine import machine_facts
from nas.errors import EvaluationError
from nas.executors import MakeExecutor, Persistent
from nas.export.model_card import set_card, write_card
from nas.files import write_bytes, write_text
from nas.protocols import DONE, Progress, Splits
from nas.report.figures import front_png, hypervolume_png
from nas.report.results import Baseline, Results, Winner
from nas.report.text import report_markdown
from nas.report.trust import TrustResult
from nas.runner.baselines import run_baselines
from nas.runner.compressing import check_passes
from nas.runner.delivery import outdated_report, report_step
from nas.runner.directory import RunDirectory
from nas.runner.finishing import finish_winners
from nas.runner.measuring import counted_on
from nas.runner.origin import outside_weights
from nas.runner.original import export_original
from nas.runner.preparation import Prepared, prepare
from nas.runner.progress import Silent, StatusFile
from nas.runner.proxy import stored_choice
from nas.runner.searching import expected_gain, search_architectures
from nas.runner.steps import tell_remade
from nas.runner.threads import suitable_threads
from nas.runner.trust import measure_trust
from nas.runner.weights import EPOCHS, Weights, weights_of
from nas.runner.workplace import Workers, Workplace, open_workplace, this_process
from nas.search.quality import quality_sentences
from nas.search.record import (
    ARCHITECTURE,
    ENDED,
    ERROR,
    REPEATS,
    SECONDS,
    complete_trials,
    costs_of,
    credible_front,
    doubts,
    measurements_of,
    paid_trials,
    reference_box,
)
from nas.search.stand_alone import stand_alone_values
from nas.search.storage import DATABASE_ERRORS, storage_error
from nas.search.warm_start import checked
from nas.space import FloatArray
from nas.study import Study, network_reference, stable_repr
from nas.task import Illustrated
from nas.training import ALONE, Ranks


def run(
    study: Study,
    path: Path,
    *,
    device: torch.device,
    progress: Progress,
    ranks: Ranks = ALONE,
    baselines: bool = False,
    command: str = "",
    storage: str | None = None,
    executor: MakeExecutor[Workplace] | None = None,
    make_study: Callable[[], Study] | None = None,
) -> Results:
    """Run a study in a directory, or go on with it there, and return what it found.

    With several ranks this is for rank 0, the only one that writes; the others call :func:`assist`.

    Args:
        study: What to do.
        path: The run directory; made if it isn't there.
        device: Where to train and to judge.
        progress: Is told how it goes.
        ranks: The processes that train the supernet together.
        baselines: Whether to run the baselines as well.
        command: What the user typed, for the cards.
        storage: URL of a PostgreSQL database that the trials go to, so that other processes may work on them
            too; None for the one the directory remembers, at first an SQLite file in it.
        executor: Makes who evaluates, trains and finishes architectures, such as
            ``partial(nas.executors.Processes, jobs=4)``; None for this process alone. The supernet is trained here.
        make_study: Returns the study in a worker's process, where it can't be pickled; pickled itself.

    Raises:
        NasError: something is wrong with the study, its data, or the directory; says what to do.
    """
    directory = RunDirectory(path, storage)
    with directory.locked():
        listener = StatusFile(directory.status, progress)
        prepared = prepare(study, device, ranks)
        checked(prepared.problem, study.warm_start)
        if not directory.has_trials():
            check_passes(prepared)
        directory.claim(prepared.description())
        directory.claim_storage()
        cardinality = prepared.problem.space.cardinality()
        listener.say(f"{study.name}: {cardinality:,} architectures; results go to {path}")
        try:
            with _suitable_threads(prepared):
                hire = partial(_workers, prepared, directory, executor, make_study)
                return _stages(prepared, directory, listener, ranks, hire, baselines, command)
        except DATABASE_ERRORS as error:
            raise storage_error(directory.location, error) from error


def assist(study: Study, path: Path, *, device: torch.device, ranks: Ranks) -> None:
    """Help rank 0, which calls :func:`run`, to train the supernet; everything else it does alone.

    Args:
        study: What rank 0 runs.
        path: Its run directory, on a disk that all processes see.
        device: Of this process.
        ranks: The processes that train together.

    Raises:
        StudyError: the study has no supernet.
    """
    prepared = prepare(study, device, ranks)
    with _suitable_threads(prepared):
        weights_of(prepared, RunDirectory(path)).train(Silent(), ranks)


@contextlib.contextmanager
def _suitable_threads(prepared: Prepared) -> Iterator[None]:
    """Within, torch computes with as many threads as suit the network."""
    threads = torch.get_num_threads()
    torch.set_num_threads(suitable_threads(prepared))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _workers(
    prepared: Prepared,
    directory: RunDirectory,
    executor: MakeExecutor[Workplace] | None,
    make_study: Callable[[], Study] | None,
    weights: Weights,
) -> Iterator[Workers]:
    """Within, there is who does the jobs: others, where an executor is given."""
    if executor is None:
        yield this_process(prepared, directory, weights)
        return
    make_study = make_study or partial(_given, prepared.study)
    make_workplace = partial(open_workplace, make_study, directory.path.resolve(), prepared.device)
    with contextlib.closing(executor(make_workplace)) as found:
        yield Persistent(found)


def _given(study: Study) -> Study:
    return study


def _stages(
    prepared: Prepared,
    directory: RunDirectory,
    progress: Progress,
    ranks: Ranks,
    hire: Callable[[Weights], AbstractContextManager[Workers]],
    baselines: bool,
    command: str,
) -> Results:
    export_original(prepared, directory)
    weights = weights_of(prepared, directory)
    trained = weights.train(progress, ranks)
    seconds = {} if trained is None else {"supernet": trained}
    with hire(weights) as workers:
        return _with_weights(prepared, directory, weights, workers, progress, baselines, command, seconds)


def _with_weights(
    prepared: Prepared,
    directory: RunDirectory,
    weights: Weights,
    workers: Workers,
    progress: Progress,
    baselines: bool,
    command: str,
    seconds: dict[str, float],
) -> Results:
    """Return the results of all stages but the supernet's training."""
    evaluations = prepared.study.evaluations
    record = search_architectures(prepared, directory, weights, evaluations, progress, workers)
    seconds["search"] = _spent(record)
    gain = expected_gain(prepared, record)
    if gain is not None:
        progress.say(str(gain))
    if not complete_trials(record):
        raise EvaluationError(
            "every evaluation failed, so there is no front: see 'nas status' for what they said."
        )
    winners, original = finish_winners(prepared, directory, record, weights, progress, workers)
    outdated = outdated_report(directory)
    trust = measure_trust(prepared, directory, record, weights, winners, progress, workers)
    compared: tuple[Baseline, ...] = ()
    if baselines:
        box = reference_box(record, prepared.problem.objectives)
        compared = run_baselines(
            prepared, directory, record, weights, box, len(paid_trials(record)), progress, workers
        )
    proxy = asdict(stored_choice(directory)) if prepared.study.proxy is not None else None
    results = _results(prepared, record, weights, winners, compared, trust, proxy, seconds, command)
    results = replace(results, original=original)
    _write(directory, results, outdated)
    progress.start(DONE, 0, 0)
    return results


def _spent(record: optuna.Study) -> float:
    """Return the seconds that proposing and evaluating took; those of killed attempts don't count."""
    return float(sum(trial.user_attrs.get(SECONDS, 0.0) for trial in paid_trials(record)))


def _results(
    prepared: Prepared,
    record: optuna.Study,
    weights: Weights,
    winners: tuple[Winner, ...],
    baselines: tuple[Baseline, ...],
    trust: TrustResult | None,
    proxy: dict[str, Any] | None,
    seconds: dict[str, float],
    command: str,
) -> Results:
    trials = complete_trials(record)
    costs = costs_of(prepared.problem.objectives, trials)
    box = reference_box(record, prepared.problem.objectives)
    everything = record.get_trials(deepcopy=False)
    failed = [t for t in paid_trials(record) if t.state == TrialState.FAIL]
    errors = [t.user_attrs[ERROR] for t in failed if ERROR in t.user_attrs]
    return Results(
        study=prepared.study.name,
        objectives=prepared.problem.objectives,
        facts={**_facts(prepared, record, weights, trials), "command": command, "seconds": seconds},
        trials={
            "complete": len(trials),
            "failed": len(failed),
            "turned_down": sum(t.state == TrialState.PRUNED for t in everything),
            "repeated": sum(REPEATS in t.user_attrs for t in everything),
        },
        failures=list(dict.fromkeys(errors)),
        trial_numbers=[t.number for t in trials],
        ids=[t.user_attrs[ARCHITECTURE] for t in trials],
        values=[list(t.values) for t in trials],
        front=np.flatnonzero(credible_front(costs, prepared.problem.excess(costs))).tolist(),
        hypervolume=box.history(costs) if box else [],
        finished_hypervolume=box.hypervolume(_finished_costs(prepared, winners)) if box else None,
        winners=winners,
        baselines=baselines,
        trust=trust,
        proxy=proxy,
    )


def _facts(
    prepared: Prepared, record: optuna.Study, weights: Weights, trials: list[FrozenTrial]
) -> dict[str, Any]:
    """Return what the report and the cards tell besides numbers."""
    study, splits = prepared.study, prepared.splits
    gain = expected_gain(prepared, record)
    return {
        "data": {
            "name": splits.name,
            "train": len(splits.train),
            "search": len(splits.search),
            "test": len(splits.test),
            "inputs": splits.inputs.describe(),
            "num_words": len(splits.vocabulary),
            "pixel_range": _pixel_range(splits),
            "mean": list(splits.mean),
            "std": list(splits.std),
            "fingerprint": splits.fingerprint,
            **({"shares": "; ".join(splits.notes)} if splits.notes else {}),
        },
        "task": {**splits.facts.describe(), "examples": isinstance(splits.task, Illustrated)},
        "space": {
            "cardinality": f"{prepared.problem.space.cardinality():,}",
            "num_choices": len(prepared.problem.space.choices),
        },
        "network": f"{network_reference(study.network)['factory']}",
        "strategy": stable_repr(study.strategy),
        "recipe": stable_repr(study.recipe),
        "training": stable_repr(study.training),
        "winners": stable_repr(study.winners),
        "pipeline": stable_repr(study.pipeline) if study.pipeline.passes else None,
        "soft_limits": [
            f"{sum(measurements_of(t)[name].value <= limit for t in trials)} of {len(trials)} have {name} of at "
            f"most {limit:g}, which was asked for."
            for name, limit in prepared.problem.soft_limits.items()
        ],
        "predicted": _predicted(prepared, trials),
        "doubts": doubts(prepared.problem.objectives, trials),
        "seed": study.seed,
        "ended": record.user_attrs.get(ENDED),
        "forecast": None if gain is None else str(gain),
        "winners_chosen_by": _chosen_by(record),
        "surrogate": quality_sentences(prepared.problem.objectives, trials),
        "intended_use": study.intended_use,
        "hub_dataset": study.hub_dataset,
        "counted": counted_on(prepared),
        "outside_weights": outside_weights(prepared, weights),
        "engine": "ONNX Runtime" if prepared.runs_exported else f"PyTorch on {prepared.device.type}",
        "machine": machine_facts(),
        "epochs": _epochs_given(trials),
    }


def _predicted(prepared: Prepared, trials: list[FrozenTrial]) -> list[str]:
    """Return a sentence for each objective that was only predicted of some candidates."""
    names = [objective.name for objective in prepared.problem.objectives]
    repeats = {name: [measurements_of(trial)[name].repeats for trial in trials] for name in names}
    return [
        f"{name} was measured of {sum(map(bool, found))} of {len(found)} candidates, and predicted of the others; "
        "winners were chosen among those measured."
        for name, found in repeats.items()
        if not all(found)
    ]


def _pixel_range(splits: Splits) -> list[float] | None:
    """Return the ends of raw pixels: of their type, or those in train; None where it takes reading a large file."""
    train, images = splits.train, splits.train.inputs
    if not splits.mean or isinstance(images, tuple):  # not of images
        return None
    if images.dtype == torch.uint8:
        return [0.0, 255.0]
    if train.mapped:
        return None
    ends = torch.stack([images.amin((0, 2, 3)), images.amax((0, 2, 3))]).double()
    if not train.mean:  # normalised already
        ends = ends * ends.new_tensor(splits.std) + ends.new_tensor(splits.mean)
        rounding = 1e-5 * ends.abs().max()
        ends = (ends / rounding).round() * rounding + 0.0  # and not -0
    return [float(ends.min()), float(ends.max())]


def _chosen_by(record: optuna.Study) -> str:
    known = stand_alone_values(record)
    if not known:
        return "their places on the search's front"
    return f"what they were expected to reach on their own, given {len(known)} architectures that had been trained so"


def _epochs_given(trials: list[FrozenTrial]) -> dict[str, int]:
    """Return how many candidates that were trained from scratch got how many epochs; {} in a supernet."""
    given = [measurements_of(trial).get(EPOCHS) for trial in trials]
    counts = Counter(int(epochs.value) for epochs in given if epochs is not None)
    return {str(epochs): counts[epochs] for epochs in sorted(counts)}


def _finished_costs(prepared: Prepared, winners: tuple[Winner, ...]) -> FloatArray:
    """Return the winners' costs on the search split, with the weights exported, ``(n, num_objectives)``."""
    quality, *others = prepared.problem.objectives
    rows = [
        [quality.cost(w.exported.value), *(o.cost(w.searched[o.name].value) for o in others)] for w in winners
    ]
    return np.array(rows)


def _write(directory: RunDirectory, results: Results, outdated: Mapping[str, str]) -> None:
    """Write the report, cards and pictures, and say which of those of before were not what they had been."""
    results.save(directory.results)
    for winner in results.winners:
        write_card(directory.winners / winner.id, results, winner)
    write_text(directory.winners / "README.md", set_card(results))
    write_bytes(directory.front, front_png(results))
    write_bytes(directory.hypervolume, hypervolume_png(results))
    write_text(directory.report, report_markdown(results))
    step = report_step(directory, results)
    step.store(None)
    tell_remade(directory.path, {name: outdated[name] for name in step.files if name in outdated})
