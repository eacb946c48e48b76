"""A run from beginning to end. The same call again resumes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
import torch

from nas.errors import EvaluationError
from nas.executors import MakeExecutor, Persistent
from nas.executors.ray_ranks import RayRanks, Seat
from nas.progress import DONE, Progress
from nas.report.results import Results
from nas.runner.adapting import adapt_candidates
from nas.runner.baselines import run_baselines
from nas.runner.compressing import check_passes
from nas.runner.context import RunContext
from nas.runner.delivery import check_report
from nas.runner.directory import RunDirectory
from nas.runner.finishing import finish_winners
from nas.runner.original import export_original
from nas.runner.preparation import Prepared, prepare
from nas.runner.prior import keep_priors, with_priors
from nas.runner.processor import suit_processor
from nas.runner.progress import Silent, StatusFile
from nas.runner.reporting import results_of, write_report
from nas.runner.searching import forecast_gain, search_architectures
from nas.runner.supernet_training import find_training_seconds
from nas.runner.trust import measure_trust
from nas.runner.weights import Weights, weights_of
from nas.runner.workplace import Workers, Workplace, open_workplace, this_process
from nas.runner.zero_cost import know_untrained
from nas.search.record.storage import DATABASE_ERRORS, storage_error
from nas.search.record.trials import ENDED, complete_trials, list_paid_trials
from nas.search.warm_start import check
from nas.study import Study
from nas.training import ALONE, Ranks, join_ranks
from nas.training.kept_memory import return_freed_memory


def run(
    study: Study,
    path: Path,
    *,
    training_device: torch.device,
    progress: Progress,
    ranks: Ranks = ALONE,
    baselines: bool = False,
    command: str = "",
    storage: str | None = None,
    executor: MakeExecutor[Workplace] | None = None,
    make_study: Callable[[], Study] | None = None,
    trainers: RayRanks | None = None,
) -> Results:
    """Run a study in a directory, or go on with it there, and return what it found.

    With several ranks this is for rank 0, the only one that writes; the others call :func:`assist`.

    Args:
        study: What to do.
        path: The run directory; made if it isn't there.
        training_device: Where to train and to evaluate.
        progress: Listens to the run.
        ranks: The processes that train the supernet together.
        baselines: Whether to run the baselines as well.
        command: What the user typed, for the cards.
        storage: URL of a PostgreSQL database that the trials go to, so that other processes may work on them
            too; None for the one the directory remembers, at first an SQLite file in it.
        executor: Makes the executor that evaluates, trains and finishes architectures, such as
            ``partial(nas.executors.Processes, jobs=4)``; None for this process alone. The supernet is trained here.
        make_study: Returns the study in a worker's process, for studies that can't be pickled; pickled itself.
        trainers: Train the supernet together; None for ``ranks``.

    Raises:
        NasError: something is wrong with the study, its data, or the directory; says what to do.
    """
    directory = RunDirectory(path, storage)
    with directory.lock():
        listener = StatusFile(directory.status, progress)
        prepared = prepare(study, training_device, ranks)
        check(prepared.problem, study.warm_start)
        prepared = with_priors(prepared, directory)
        # Before anything is stored, so that a directory in which nothing can be done stays empty.
        if not directory.has_trials():
            check_passes(prepared)
        directory.claim(prepared.description())
        keep_priors(prepared, directory)
        directory.claim_storage()
        cardinality = prepared.problem.space.cardinality()
        listener.say(f"{study.name}: {cardinality:,} architectures; results go to {path}")
        try:
            with _adjust_processor(prepared):
                export_original(prepared, directory)
                weights = weights_of(prepared, directory)
                make_study = make_study or partial(_keep_study, prepared.study)
                if trainers is not None:
                    _train_elsewhere(prepared, directory, weights, make_study, trainers, listener)
                seconds = weights.train(listener, ranks)
                prepared = know_untrained(prepared, directory, listener)
                with _workers(prepared, directory, weights, executor, make_study) as workers:
                    context = RunContext(prepared, directory, weights, workers, listener)
                    return _stages(context, baselines, command, seconds)
        except DATABASE_ERRORS as error:
            raise storage_error(directory.location, error) from error


def assist(
    study: Study, path: Path, *, training_device: torch.device, ranks: Ranks, progress: Progress | None = None
) -> None:
    """Train the supernet together with others, such as rank 0, which calls :func:`run`; all else is done by one.

    Args:
        study: What is run.
        path: The run directory, on a disk that all processes see.
        training_device: Where this process trains.
        ranks: The processes that train together.
        progress: Is told how it goes; nobody, unless told otherwise.

    Raises:
        StudyError: the study has no supernet.
    """
    prepared = prepare(study, training_device, ranks)
    with _adjust_processor(prepared):
        weights_of(prepared, RunDirectory(path)).train(progress or Silent(), ranks)


def _train_elsewhere(
    prepared: Prepared,
    directory: RunDirectory,
    weights: Weights,
    make_study: Callable[[], Study],
    trainers: RayRanks,
    progress: Progress,
) -> None:
    """Let the processes of a cluster train the supernet, unless it is trained."""
    if not weights.are_shared:
        weights.train(progress, Ranks(size=trainers.size))  # which says that there is no supernet
    if find_training_seconds(prepared, directory) is None:
        trainers.run(
            partial(_assist_at, make_study, directory.path.resolve(), prepared.training_device), progress
        )


def _assist_at(
    make_study: Callable[[], Study], path: Path, training_device: torch.device, seat: Seat
) -> None:
    with join_ranks(training_device, (seat.url, Ranks(seat.rank, seat.size))) as ranks:
        assist(make_study(), path, training_device=training_device, ranks=ranks, progress=seat.progress)


@contextlib.contextmanager
def _adjust_processor(prepared: Prepared) -> Iterator[None]:
    """Within, torch computes with as many threads as suit the network, and afterwards as before."""
    threads = torch.get_num_threads()
    suit_processor(prepared)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        return_freed_memory()


@contextlib.contextmanager
def _workers(
    prepared: Prepared,
    directory: RunDirectory,
    weights: Weights,
    executor: MakeExecutor[Workplace] | None,
    make_study: Callable[[], Study],
) -> Iterator[Workers]:
    """Yield the workers of a run: those of an executor, or this process if none is given."""
    if executor is None:
        yield this_process(prepared, directory, weights)
        return
    make_workplace = partial(open_workplace, make_study, directory.path.resolve(), prepared.training_device)
    with contextlib.closing(executor(make_workplace)) as found:
        yield Persistent(found, Workplace(prepared, directory, weights))


def _keep_study(study: Study) -> Study:
    return study


def _stages(context: RunContext, baselines: bool, command: str, trained_seconds: float | None) -> Results:
    """Return the results of all stages but the supernet's training."""
    progress = context.progress
    record = search_architectures(context, context.prepared.study.evaluations)
    gain = forecast_gain(context.prepared, record)
    if gain is not None:
        progress.say(str(gain))
    if not complete_trials(record):
        raise EvaluationError(_why_no_front(record))
    adapted = adapt_candidates(context, record)
    winners, original = finish_winners(context, record, adapted.qualities)
    outdated = check_report(context.run)
    trust = measure_trust(context, record, winners)
    compared = run_baselines(context, record) if baselines else ()
    results = results_of(context, record, winners, command, trained_seconds)
    facts = adapted.add_to_facts(results.facts)
    results = replace(results, facts=facts, original=original, trust=trust, baselines=compared)
    write_report(context.run, results, outdated)
    progress.start(DONE, 0, 0)
    return results


def _why_no_front(record: optuna.Study) -> str:
    if list_paid_trials(record):
        return "every evaluation failed, so there is no front: see 'nas status' for what they said."
    return (
        f"nothing was evaluated, so there is no front: the search ended because {record.user_attrs.get(ENDED)}. Loosen "
        "the constraints or what ends the search, or use a strategy that knows them, such as SurrogateSearch."
    )
