"""Training the supernet and searching in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from nas.data.inputs import placed
from nas.errors import StudyChangedError
from nas.evaluation import SubnetCandidate
from nas.evaluation.machine import processor_name
from nas.export.folder import load_weights, save_weights
from nas.files import read_json, write_json
from nas.objective import Measurement
from nas.protocols import Bench, Candidate, Progress, Split
from nas.runner.directory import RunDirectory, file_digest, finish, finished
from nas.runner.preparation import Prepared
from nas.search.loop import search
from nas.search.record import REPEATS, complete_trials, costs_of, paid_trials, reference_box
from nas.search.storage import open_study
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
    inputs = [stable_repr(study.recipe), study.seed, prepared.splits.fingerprint]
    stored = finished(record, inputs)
    if stored is not None and weights.exists():
        load_weights(weights, supernet)
        supernet.to(prepared.device).eval()
        return float(stored["seconds"])
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
    finish(record, inputs, {"losses": losses, "seconds": sum(clock.seconds)})
    for leftover in run.supernet.glob("checkpoint.pt*"):
        leftover.unlink()
    return sum(clock.seconds)


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
    return list(split.batch(slice(_RECALIBRATION_IMAGES)).split(_RECALIBRATION_BATCH))


def extract_recalibrated(supernet: Supernet, architecture: Architecture, split: Split) -> torch.nn.Module:
    """Return the subnet as a plain module with batch-norm statistics of its own, in evaluation mode."""
    module = supernet.extract(architecture).to(memory_format=torch.channels_last)
    device = next(supernet.parameters()).device
    recalibrate(module, [placed(batch, device) for batch in recalibration_batches(split)])
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
    record = open_study(run.database, study.name, prepared.problem.objectives, sampler)
    used = record.user_attrs.get(SUPERNET_DIGEST)
    weights = file_digest(run.supernet / "weights.safetensors")
    if used is None:
        record.set_user_attr(SUPERNET_DIGEST, weights)
    elif used != weights:
        raise StudyChangedError(
            f"the trials in {run.database} were judged with another supernet than the one in {run.supernet}: "
            "move study.db away to search again with this supernet, or restore the old one."
        )
    judge = subnet_judge(prepared, calibration(prepared, record))
    spend(prepared, record, judge, evaluations, "search", progress)
    return record


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
        candidate = SubnetCandidate(module, prepared.splits.image_shape, prepared.splits.dtype)
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
) -> None:
    """Run the search loop on ``record`` until ``evaluations`` are spent, and tell how it stands."""
    done = len(paid_trials(record))
    if done >= evaluations:
        return
    progress.start(stage, evaluations, done)
    objectives = prepared.problem.objectives

    def on_trial(trial: FrozenTrial) -> None:
        if trial.state == TrialState.PRUNED or REPEATS in trial.user_attrs:
            return
        box = reference_box(record, objectives)
        note = "start-up"
        if box is not None:
            note = f"hypervolume {box.hypervolume(costs_of(objectives, complete_trials(record))):.4f}"
        progress.advance("failed" if trial.state == TrialState.FAIL else note)

    search(record, prepared.problem, judge, evaluations=evaluations, on_trial=on_trial)
