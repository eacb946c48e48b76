"""A further process on a run's search: it evaluates architectures, and leaves the rest to ``nas run``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import optuna
import torch

from nas.errors import RunDirectoryError
from nas.evaluation.from_scratch import FromScratch
from nas.export.folder import load_weights
from nas.protocols import SEARCH, Progress
from nas.runner.directory import RunDirectory
from nas.runner.measuring import CALIBRATION, calibration
from nas.runner.preparation import Prepared, made_sampler, prepare
from nas.runner.searching import Reporter, check_weights
from nas.runner.supernet_training import trained_supernet
from nas.runner.weights import Weights, weights_of
from nas.runner.workplace import Workplace, judging
from nas.search.loop import join
from nas.search.record import LIMITS, paid_trials
from nas.search.stopping import Limits
from nas.search.storage import DATABASE_ERRORS, check_url, storage_error
from nas.search.workers import TeamWorker
from nas.study import Study

_POLL_SECONDS = 2.0


def work(
    study: Study, path: Path, *, device: torch.device, progress: Progress, storage: str | None = None
) -> str:
    """Help with the search of a run that another process coordinates, and return why the search ended.

    The run directory is shared with the coordinator, the trials are on a PostgreSQL server. What isn't
    there yet is waited for: the run directory, the trained supernet, the begin of the search.

    Raises:
        NasError: something is wrong with the study, its data, the directory or the server; says what to do.
    """
    if storage is not None:
        check_url(storage)
    directory = RunDirectory(path, storage)
    _wait_until(directory.manifest.exists, f"{path} to be made by 'nas run'", progress)
    prepared = prepare(study, device)  # its initial weights have been made by then
    directory.claim(prepared.description())
    _wait_until(directory.has_trials, "the run to begin", progress)
    if isinstance(directory.location, Path):
        raise RunDirectoryError(
            f"the trials of {path} are in an SQLite file, which one process alone can work on: begin the run with "
            "--storage postgresql+psycopg://user@host/database to let others join."
        )
    try:
        return _search(prepared, directory, progress)
    except DATABASE_ERRORS as error:
        raise storage_error(directory.location, error) from error


def _search(prepared: Prepared, directory: RunDirectory, progress: Progress) -> str:
    weights = _weights(prepared, directory, progress)
    study = prepared.study
    sampler = made_sampler(study, prepared.problem)
    record = directory.open_study(study.name, prepared.problem.objectives, sampler)
    _wait_until(lambda: {CALIBRATION, LIMITS} <= record.user_attrs.keys(), "the search to begin", progress)
    check_weights(directory, record, weights)
    work_of, here = (
        judging(weights, record, calibration(prepared, record)),
        Workplace(prepared, directory, weights),
    )
    progress.start(f"{SEARCH}, as a worker", _evaluations(record), len(paid_trials(record)))
    return join(
        record,
        prepared.problem,
        lambda architecture: work_of(architecture)(here),  # type: ignore[arg-type, return-value]
        on_trial=Reporter(record, prepared.problem, progress),
        worker=TeamWorker(record, coordinator=False),
    )


def _weights(prepared: Prepared, directory: RunDirectory, progress: Progress) -> Weights:
    """Return what gives candidates their weights; a supernet is trained by the coordinator, and waited for."""
    if not isinstance(prepared.study.training, FromScratch):
        _wait_until(
            lambda: trained_supernet(prepared, directory) is not None, "the trained supernet", progress
        )
        load_weights(directory.supernet / "weights.safetensors", prepared.supernet)
        prepared.supernet.to(prepared.device).eval()
    return weights_of(prepared, directory)


def _evaluations(record: optuna.Study) -> int:
    return Limits.from_json(record.user_attrs[LIMITS]).evaluations


def _wait_until(ready: Callable[[], bool], what: str, progress: Progress) -> None:
    if ready():
        return
    progress.say(f"waiting for {what}")
    while not ready():
        time.sleep(_POLL_SECONDS)
