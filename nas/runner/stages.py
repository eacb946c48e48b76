"""Training the supernet and searching in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import final

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from nas.errors import StudyChangedError
from nas.evaluation import SubnetCandidate
from nas.evaluation.machine import processor_name
from nas.export.folder import load_weights, save_weights
from nas.files import read_json, write_json
from nas.objective import Measurement
from nas.protocols import Bench, Candidate, Problem, Progress, Split
from nas.runner.directory import RunDirectory, file_digest, finish, finished
from nas.runner.preparation import Prepared
from nas.search.forecast import Forecast
from nas.search.loop import search
from nas.search.record import (
    ENDED,
    GrowingFront,
    complete_trials,
    costs_of,
    is_paid,
    paid_trials,
    reference_box,
)
from nas.search.stopping import NEVER, Stopping, forecast_of
from nas.search.warm_start import queue
from nas.search.workers import worker_for
from nas.space import Architecture
from nas.study import stable_repr
from nas.supernet import Supernet, recalibrate
from nas.supernet.sandwich import sandwich_step
from nas.training import train

_RECALIBRATION_IMAGES = 512
_RECALIBRATION_BATCH = 256
CALIBRATION, PROCESSOR = "calibration", "processor"
SUPERNET_DIGEST = "supernet"


def train_supernet(prepared: Prepared, run: RunDirectory, progress: Progress) -> float:
    """Train the supernet of ``prepared`` in place, or load it if it is trained.

    Returns:
        Seconds of training, over all attempts.

    Raises:
        TrainingError: the loss is not finite.
        DamagedFileError: the checkpoint or the weights are damaged.
    """
    study, supernet = prepared.study, prepared.supernet
    weights, record = run.supernet / "weights.safetensors", run.supernet / "training.json"
    seconds = trained_supernet(prepared, run)
    if seconds is not None:
        load_weights(weights, supernet)
        supernet.to(prepared.device).eval()
        return seconds
    checkpoint = run.supernet / "checkpoint.pt"
    clock = _Clock(run.supernet / "seconds.json")
    progress.start("train supernet", study.recipe.epochs, len(clock.seconds) if checkpoint.exists() else 0)

    def on_epoch(epoch: int, loss: float) -> None:
        clock.tick(epoch)
        progress.advance(f"loss {loss:.3f}")

    losses = train(
        supernet,
        sandwich_step(supernet, study.recipe),
        prepared.splits.train,
        study.recipe,
        seed=study.seed,
        device=prepared.device,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
    )
    save_weights(weights, supernet)
    finish(record, _training_inputs(prepared), {"losses": losses, "seconds": sum(clock.seconds)})
    for leftover in run.supernet.glob("checkpoint.pt*"):
        leftover.unlink()
    return sum(clock.seconds)


def trained_supernet(prepared: Prepared, run: RunDirectory) -> float | None:
    """Return the seconds that the directory's supernet was trained for; None if it has to be trained."""
    stored = finished(run.supernet / "training.json", _training_inputs(prepared))
    trained = stored is not None and (run.supernet / "weights.safetensors").exists()
    return float(stored["seconds"]) if stored is not None and trained else None


def _training_inputs(prepared: Prepared) -> list[object]:
    return [stable_repr(prepared.study.recipe), prepared.study.seed, prepared.splits.fingerprint]


class _Clock:
    """Seconds per epoch, kept across attempts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: list[float] = read_json(path) if path.exists() else []
        self._last = time.perf_counter()

    def tick(self, epoch: int) -> None:
        now = time.perf_counter()
        self.seconds = [*self.seconds[: epoch - 1], now - self._last]
        self._last = now
        write_json(self._path, self.seconds)


def recalibration_batches(split: Split) -> list[Tensor]:
    """Return the training images that batch-norm statistics are recalibrated on: the first 512."""
    return list(split.images[:_RECALIBRATION_IMAGES].split(_RECALIBRATION_BATCH))


def extract_recalibrated(supernet: Supernet, architecture: Architecture, split: Split) -> torch.nn.Module:
    """Return the subnet as a plain module with batch-norm statistics of its own, in evaluation mode."""
    module = supernet.extract(architecture).to(memory_format=torch.channels_last)
    device = next(supernet.parameters()).device
    recalibrate(
        module,
        [
            batch.to(device=device, memory_format=torch.channels_last)
            for batch in recalibration_batches(split)
        ],
    )
    return module.eval()


def search_architectures(
    prepared: Prepared, run: RunDirectory, evaluations: int, progress: Progress
) -> optuna.Study:
    """Search until ``evaluations`` are spent and return the Optuna study.

    Raises:
        StudyChangedError: the supernet is not the one that earlier trials were judged with.
    """
    study = prepared.study
    sampler = study.strategy.sampler(prepared.problem, study.seed)
    record = run.open_study(study.name, prepared.problem.objectives, sampler)
    check_supernet(run, record)
    queue(record, prepared.problem, study.warm_start, progress.say)
    judge = subnet_judge(prepared, calibration(prepared, record))
    spend(prepared, record, judge, evaluations, "search", progress, study.stopping)
    return record


def check_supernet(run: RunDirectory, record: optuna.Study) -> None:
    """Store which supernet the trials are judged with, or compare.

    Raises:
        StudyChangedError: earlier trials were judged with another one.
    """
    used = record.user_attrs.get(SUPERNET_DIGEST)
    weights = file_digest(run.supernet / "weights.safetensors")
    if used is None:
        record.set_user_attr(SUPERNET_DIGEST, weights)
    elif used != weights:
        raise StudyChangedError(
            f"the trials of {run.path} were judged with another supernet than the one in {run.supernet}: restore "
            "the old one, or move study.db (or storage.json) away to search again with this one."
        )


def calibration(prepared: Prepared, record: optuna.Study) -> dict[str, dict[str, float]]:
    """Return what every measured objective knows of the device; measured once and stored.

    Raises:
        StudyChangedError: it was measured on another processor.
    """
    stored: dict[str, dict[str, float]] | None = record.user_attrs.get(CALIBRATION)
    if stored is None:
        stored = {o.objective.name: o.calibrate() for o in prepared.measured}
        record.set_user_attr(CALIBRATION, stored)
        record.set_user_attr(PROCESSOR, processor_name())
    elif any(stored.values()) and record.user_attrs[PROCESSOR] != processor_name():
        raise StudyChangedError(
            f"the study was measured on {record.user_attrs[PROCESSOR]} and this machine has "
            f"{processor_name()}: measurements of two devices can't share a front; run in a new directory."
        )
    return stored


def subnet_judge(
    prepared: Prepared, known: Mapping[str, Mapping[str, float]]
) -> Callable[[Architecture], dict[str, Measurement]]:
    """Return what evaluates an architecture with the supernet's weights on the search split."""

    def judge(architecture: Architecture) -> dict[str, Measurement]:
        module = extract_recalibrated(prepared.supernet, architecture, prepared.splits.train)
        candidate = SubnetCandidate(module, prepared.splits.image_shape)
        return measurements(prepared, architecture, candidate, known)

    return judge


def measurements(
    prepared: Prepared,
    architecture: Architecture,
    candidate: Candidate,
    known: Mapping[str, Mapping[str, float]],
) -> dict[str, Measurement]:
    """Return all objectives of a candidate on the search split, measured briefly."""
    results = counted_measurements(prepared, architecture)
    for objective in prepared.measured:
        name = objective.objective.name
        bench = Bench(prepared.splits.search, thorough=False, calibration=known[name])
        results[name] = objective.measure([candidate], bench)[0]
    return results


def counted_measurements(prepared: Prepared, architecture: Architecture) -> dict[str, Measurement]:
    """Return the counted objectives of an architecture as exact measurements."""
    counts = prepared.problem.count(prepared.problem.space.indices([architecture]))
    units = {o.name: o.unit for o in prepared.problem.objectives}
    return {name: Measurement(float(v[0]), 0.0, units[name], "", 1) for name, v in counts.items()}


def spend(
    prepared: Prepared,
    record: optuna.Study,
    judge: Callable[[Architecture], Mapping[str, Measurement]],
    evaluations: int,
    stage: str,
    progress: Progress,
    stopping: Stopping = NEVER,
) -> None:
    """Run the search loop on ``record`` until it ends, and tell how it stands."""
    done = len(paid_trials(record))
    if done >= evaluations:
        return
    progress.start(stage, evaluations, done)
    search(
        record,
        prepared.problem,
        judge,
        evaluations=evaluations,
        on_trial=Reporter(record, prepared.problem, progress),
        stopping=stopping,
        worker=worker_for(record, coordinator=True),
    )
    if len(paid_trials(record)) < evaluations:
        progress.say(f"{stage}: {record.user_attrs[ENDED]}")


@final
class Reporter:
    """Tells a listener how a search stands after each of its evaluations.

    Args:
        record: The search's study.
        problem: What is searched.
        progress: Who is told.
    """

    def __init__(self, record: optuna.Study, problem: Problem, progress: Progress) -> None:
        self._record, self._objectives, self._progress = record, problem.objectives, progress
        self._front: GrowingFront | None = None

    def __call__(self, trial: FrozenTrial) -> None:
        """Take in a finished trial."""
        if is_paid(trial):
            self._progress.advance(self._note(trial))

    def _note(self, trial: FrozenTrial) -> str:
        if trial.state == TrialState.FAIL:
            return "failed"
        new = [trial]
        if self._front is None:
            box = reference_box(self._record, self._objectives)
            if box is None:
                return "start-up"
            self._front, new = GrowingFront(box), complete_trials(self._record)
        for cost in costs_of(self._objectives, new):
            self._front.add(cost)
        return f"hypervolume {self._front.hypervolume:.4f}"


def expected_gain(prepared: Prepared, record: optuna.Study) -> Forecast | None:
    """Return what more evaluations would bring; None when it is too early to tell."""
    return forecast_of(record, prepared.problem.objectives, prepared.study.stopping.horizon)
