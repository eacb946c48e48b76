"""What jobs of a run find where they are done: here, or in a process that knows the study by a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import final

import optuna
import torch

from nas.errors import WorkerError
from nas.executors import Persistent, Rest, Serial, Work
from nas.objective import Measurement
from nas.runner.directory import RunDirectory
from nas.runner.measuring import Known, PartialEvaluation
from nas.runner.preparation import Prepared, prepare
from nas.runner.processor import suit_processor
from nas.runner.proxy import on_proxy
from nas.runner.sparing import Sparing
from nas.runner.weights import EvaluationBasis, Weights, weights_of
from nas.search.spared import SparedBasis
from nas.space import Architecture
from nas.study import Study


@final
@dataclass(frozen=True)
class Workplace:
    """A run as jobs see it. They read and write its directory, never its record.

    Args:
        prepared: The study; its supernet, where it has one, is trained.
        run: The directory.
        weights: Gives candidates their weights.
    """

    prepared: Prepared
    run: RunDirectory
    weights: Weights

    @cached_property
    def prepared_for_search(self) -> Prepared:
        """The study with the part of the search split that candidates are evaluated on."""
        return on_proxy(self.prepared, self.run)

    @cached_property
    def sparing(self) -> Sparing:
        """The latencies of the study that are measured of few candidates alone."""
        return Sparing(self.prepared)


Workers = Persistent[Workplace]
"""Who does a run's jobs."""


def this_process(prepared: Prepared, run: RunDirectory, weights: Weights) -> Workers:
    """Return the only worker of a run that has no others."""
    here = Workplace(prepared, run, weights)
    return Persistent(Serial(here), here)


def open_workplace(make_study: Callable[[], Study], path: Path, training_device: torch.device) -> Workplace:
    """Make the workplace of another process than the one that runs a study.

    Args:
        make_study: Returns the study.
        path: The run directory, on a disk that both processes see.
        training_device: Where to train and to evaluate.

    Raises:
        WorkerError: the directory can't be seen.
        StudyChangedError: the study is another one here.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the record is another process's
    run = RunDirectory(path)
    if not run.manifest.exists():
        raise WorkerError(
            f"a worker doesn't see the run directory {path}: put it on a disk that all workers see under this path."
        )
    prepared = prepare(make_study(), training_device)
    suit_processor(prepared)
    run.claim(prepared.description())
    weights = weights_of(prepared, run)
    weights.load()
    return Workplace(prepared, run, weights)


def make_evaluation_work(
    here: Workplace, record: optuna.Study, known: Known
) -> Callable[[Architecture], Work[Workplace]]:
    """Return what makes the job of evaluating an architecture for a record."""

    def work_of(architecture: Architecture) -> Work[Workplace]:
        spared = here.sparing.find_basis(record)
        return partial(_evaluate, architecture, known, here.weights.find_basis(record), spared)

    return work_of


def _evaluate(
    architecture: Architecture,
    known: Known,
    basis: EvaluationBasis,
    spared: tuple[SparedBasis, ...],
    here: Workplace,
) -> Rest[Workplace]:
    evaluation = here.weights.evaluate(here.prepared_for_search, architecture, known, basis)
    return Rest(partial(_measure, architecture, known, spared, evaluation))


def _measure(
    architecture: Architecture,
    known: Known,
    spared: tuple[SparedBasis, ...],
    evaluation: PartialEvaluation,
    here: Workplace,
) -> Mapping[str, Measurement]:
    return evaluation.on_devices(here.prepared_for_search, known, here.sparing.predict(architecture, spared))
