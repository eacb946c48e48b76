"""Training the supernet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from nas.checks import check_kind, check_maker, failing_as
from nas.errors import DamagedFileError, StudyError
from nas.export.folder import load_weights, save_weights
from nas.progress import TRAIN_SUPERNET, Progress
from nas.runner.clock import Clock
from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared
from nas.runner.pretraining import pretrain_supernet
from nas.runner.steps import CachedStep
from nas.study import stable_repr
from nas.training import ALONE, Ranks, Recipe, Step, train
from nas.training.memory import explain_out_of_memory
from nas.training.phases import Phase, SupernetTraining

WEIGHTS = "weights.safetensors"


@final
@dataclass(frozen=True)
class _Training:
    """The result of the training, as it is stored."""

    losses: list[float]
    seconds: float


@explain_out_of_memory()
def train_supernet(prepared: Prepared, run: RunDirectory, progress: Progress, ranks: Ranks = ALONE) -> float:
    """Train the supernet of ``prepared`` in place, or load it if it is trained.

    Returns:
        Seconds of training, over all attempts.

    Raises:
        TrainingError: the loss is not finite, or memory ran out.
        DamagedFileError: a checkpoint or the weights are damaged.
    """
    supernet = prepared.supernet
    seconds = find_training_seconds(prepared, run)
    if ranks.agree(seconds is not None) and seconds is not None:
        load_supernet(prepared, run)
        return seconds
    if ranks.first:
        _step(prepared, run).path.unlink(missing_ok=True)  # it is of other weights than those to come
    supernet.to(prepared.training_device).eval()
    pretrain_supernet(prepared, run, progress, ranks)
    clock = Clock(run.supernet / "seconds.json")
    phases = _phases(prepared)
    begun = any(run.supernet.glob("checkpoint*"))
    progress.start(
        TRAIN_SUPERNET, sum(phase.recipe.epochs for phase in phases), len(clock.seconds) if begun else 0
    )
    losses = _through(phases, prepared, run, progress, clock, ranks)
    if ranks.first:
        save_weights(run.supernet / WEIGHTS, supernet)
        _step(prepared, run).store({"losses": losses, "seconds": sum(clock.seconds)})
        for leftover in (*run.supernet.glob("checkpoint*"), *run.supernet.glob("seconds.json")):
            leftover.unlink()
    return sum(clock.seconds)


def _phases(prepared: Prepared) -> list[Phase]:
    study, training = prepared.study, prepared.study.training
    assert isinstance(training, SupernetTraining)
    with failing_as(StudyError, "phases() of the study's training failed", "mend it"):
        phases = list(training.phases(prepared.supernet, study.recipe, prepared.splits.task))
    for position, phase in enumerate(phases):
        check_kind(
            "phases() of the study's training",
            f"result[{position}]",
            phase,
            Phase,
            "a nas.training.phases.Phase",
        )
        check_kind(f"phase {position} of the study's training", "recipe", phase.recipe, Recipe, "a Recipe")
    return phases


def _make_step(phase: Phase) -> Step:
    with failing_as(StudyError, f"step() of the training's phase {phase.name!r} failed", "mend it"):
        step = phase.step()
    check_maker(f"step() of the training's phase {phase.name!r}", "result", step, "a function of a batch")
    return step


def find_training_seconds(prepared: Prepared, run: RunDirectory) -> float | None:
    """Return the seconds that the directory's supernet was trained for; None if it has to be trained.

    Raises:
        DamagedFileError: its weights or its ``training.json`` are damaged. They are not made again unasked: that
            may take hours, and there may be a copy.
    """
    step = _step(prepared, run)
    stored, weights = step.result(_Training), run.supernet / WEIGHTS
    if stored is None or not weights.exists():
        return None
    for fault in step.faults().values():
        raise DamagedFileError(
            f"the weights in {weights} can't be used, because the file {fault}: restore it, or delete it and run the "
            "same command again to train the supernet anew."
        )
    return stored.seconds


def load_supernet(prepared: Prepared, run: RunDirectory) -> None:
    """Give the supernet of ``prepared`` the weights that it was trained to.

    Raises:
        DamagedFileError: they can't be read.
    """
    load_weights(run.supernet / WEIGHTS, prepared.supernet)
    prepared.supernet.to(prepared.training_device).eval()


def _step(prepared: Prepared, run: RunDirectory) -> CachedStep:
    return CachedStep(run.supernet / "training.json", _list_training_inputs(prepared), (WEIGHTS,))


def _list_training_inputs(prepared: Prepared) -> list[object]:
    study = prepared.study
    return [
        study.recipe.fingerprint,
        stable_repr(study.training),
        *map(stable_repr, study.hard_limits),
        prepared.weights_digest(),
        study.seed,
        prepared.splits.fingerprint,
        *prepared.describe_pretraining(),
    ]


def _through(
    phases: Sequence[Phase],
    prepared: Prepared,
    run: RunDirectory,
    progress: Progress,
    clock: Clock,
    ranks: Ranks,
) -> list[float]:
    """Train phase after phase and return all losses. Every phase leaves its last checkpoint."""
    losses: list[float] = []
    for number, phase in enumerate(phases):
        before, name = len(losses), phase.name

        def on_epoch(epoch: int, loss: float, before: int = before, name: str = name) -> None:
            clock.tick(before + epoch, keep=ranks.first)
            progress.advance(f"{name}, loss {loss:.3f}")

        losses += train(
            prepared.supernet,
            _make_step(phase),
            prepared.splits.train,
            phase.recipe,
            seed=prepared.study.seed + number,
            device=prepared.training_device,
            ranks=ranks,
            checkpoint=run.supernet / f"checkpoint-{number}.pt",
            on_epoch=on_epoch,
        )
    return losses
