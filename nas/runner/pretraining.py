"""Pre-training the supernet, from items that nobody labelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from nas.checks import check_kind, failing_as
from nas.errors import StudyError
from nas.export.folder import load_weights, save_weights
from nas.progress import PRETRAIN_SUPERNET, Pretext, Pretraining, Progress
from nas.runner.clock import Clock
from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared
from nas.runner.steps import CachedStep, tell_remade
from nas.splits import Split
from nas.study import stable_repr
from nas.training import Ranks, train

_WEIGHTS = "weights.safetensors"


@final
@dataclass(frozen=True)
class PretrainingResult:
    """The result of pre-training, as it is stored.

    Args:
        losses: Mean loss of each epoch.
        seconds: Time that all attempts took.
        items: How many were learned from.
    """

    losses: list[float]
    seconds: float
    items: int

    def describe(self, item: str) -> str:
        """Return it as a sentence, given what one item is called."""
        epochs = f"{len(self.losses)} epoch{'s' if len(self.losses) > 1 else ''}"
        return f"Before its training the supernet learned from {self.items} {item}s without labels, for {epochs}."


def pretrain_supernet(prepared: Prepared, run: RunDirectory, progress: Progress, ranks: Ranks) -> None:
    """Pre-train the supernet of ``prepared`` in place as its study says, or load it if it is pre-trained.

    Raises:
        StudyError: network and data are not such that it could be pre-trained; says what is expected.
        TrainingError: the loss is not finite, or memory ran out.
        DamagedFileError: a checkpoint is damaged.
    """
    how = prepared.study.pretraining
    if how is None:
        return
    step, weights = _step(prepared, run), run.pretraining / _WEIGHTS
    faults = step.faults() if ranks.first else {}
    tell_remade(run.pretraining, faults)
    if ranks.agree(step.result(PretrainingResult) is not None and not faults):
        load_weights(weights, prepared.supernet)
        return
    pretext = _make_pretext(prepared, how)
    clock = Clock(run.pretraining / "seconds.json")
    checkpoint = run.pretraining / "checkpoint.pt"
    progress.start(PRETRAIN_SUPERNET, how.recipe.epochs, len(clock.seconds) if checkpoint.exists() else 0)

    def on_epoch(epoch: int, loss: float) -> None:
        clock.tick(epoch, keep=ranks.first)
        progress.advance(f"loss {loss:.3f}")

    losses = train(
        pretext.module,
        pretext.step,
        pretext.data,
        how.recipe,
        seed=prepared.study.seed,
        device=prepared.training_device,
        ranks=ranks,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
    )
    if ranks.first:
        save_weights(weights, prepared.supernet)
        step.store({"losses": losses, "seconds": sum(clock.seconds), "items": len(pretext.data)})
        for leftover in (*run.pretraining.glob("checkpoint*"), run.pretraining / "seconds.json"):
            leftover.unlink()


def read_pretraining(prepared: Prepared, run: RunDirectory) -> PretrainingResult | None:
    """Return what the run's pre-training came to; None where there is none."""
    return None if prepared.study.pretraining is None else _step(prepared, run).result(PretrainingResult)


def _make_pretext(prepared: Prepared, how: Pretraining) -> Pretext:
    name = "pretext() of the study's pretraining"
    with failing_as(StudyError, f"{name} failed", "mend it"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(prepared.study.seed)
        pretext = how.pretext(prepared.supernet, _items(prepared), prepared.splits.inputs)
    check_kind(name, "result", pretext, Pretext, "a nas.progress.Pretext")
    return pretext


def _items(prepared: Prepared) -> Split:
    splits = prepared.splits
    return splits.train if splits.unlabelled is None else splits.unlabelled


def _step(prepared: Prepared, run: RunDirectory) -> CachedStep:
    inputs = [
        *prepared.describe_pretraining(),
        *map(stable_repr, prepared.study.hard_limits),
        prepared.weights_digest(),
        prepared.study.seed,
        prepared.splits.fingerprint,
    ]
    return CachedStep(run.pretraining / "pretraining.json", inputs, (_WEIGHTS,))
