"""One training loop for supernets, winners and networks from scratch; what a step does is an argument."""

from __future__ import annotations

import io
import logging
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from nas.data.augment import augmented
from nas.data.inputs import placed
from nas.errors import DamagedFileError, StudyError, TrainingError
from nas.files import replacing
from nas.protocols import Split

logger = logging.getLogger(__name__)

Step = Callable[[Tensor, Tensor, torch.Generator], float]
"""Adds gradients for a batch ``(images, labels, generator)`` and returns the loss."""


@final
@dataclass(frozen=True)
class Recipe:
    """How to train: AdamW (Loshchilov 2019) with warm-up and cosine decay (torch's OneCycleLR).

    Args:
        epochs: Passes over the training split.
        batch_size: Images per step.
        learning_rate: The highest one.
        weight_decay: Of AdamW.
        label_smoothing: Of the cross-entropy (Szegedy 2016).
        max_grad_norm: Gradients are clipped to this L2 norm.
        augment: A torchvision v2 transform that keeps the shape, or None. Its ``repr`` must tell its
            settings.

    Raises:
        StudyError: a number is out of range.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    max_grad_norm: float = 2.0
    augment: Callable[[Tensor], Tensor] | None = field(default=None)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise StudyError(
                f"a recipe of {self.epochs} epochs with batches of {self.batch_size}: both must be 1 or more."
            )
        if not self.learning_rate > 0:
            raise StudyError(f"learning_rate is {self.learning_rate}: it must be positive.")
        if not (math.isfinite(self.learning_rate) and 0 <= self.weight_decay < math.inf):
            raise StudyError(
                f"learning_rate is {self.learning_rate} and weight_decay {self.weight_decay}: both must be finite, "
                "and the decay not negative."
            )
        if not (0 <= self.label_smoothing < 1 and self.max_grad_norm > 0):
            raise StudyError(
                f"label_smoothing is {self.label_smoothing} and max_grad_norm {self.max_grad_norm}: the first must "
                "be in [0, 1), the second positive."
            )


def train(
    model: nn.Module,
    step: Step,
    data: Split,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    on_epoch: Callable[[int, float], None] = lambda _epoch, _loss: None,
) -> list[float]:
    """Train ``model`` in place and return the mean loss of each epoch.

    With a checkpoint path the state of model, optimizer, scheduler and generator is saved after every
    epoch, and a later call goes on from there. On a CPU a resumed training ends with the same weights,
    bit for bit, as one that was never interrupted.

    Args:
        model: Its parameters are optimised; moved to ``device``.
        step: What to do with a batch.
        data: The training split.
        recipe: How long and how fast.
        seed: Of shuffling, augmentation, dropout, and whatever ``step`` draws.
        device: Where to train.
        checkpoint: File to resume from and to save to; the state before it is kept beside it.
        on_epoch: Called with the number of finished epochs and the last epoch's mean loss.

    Raises:
        TrainingError: the loss is NaN or infinite.
        DamagedFileError: the checkpoint can't be read.
    """
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = data.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    steps_per_epoch = math.ceil(len(data) / recipe.batch_size)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * steps_per_epoch, pct_start=0.15
    )
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    if checkpoint is not None and checkpoint.exists():
        losses = _restore(checkpoint, model, optimizer, scheduler, generator)
        logger.info("resumed from %s after %d epochs", checkpoint, len(losses))
    for epoch in range(len(losses), recipe.epochs):
        model.train()
        total = 0.0
        with _seeded(generator, device):
            for rows in _batches(len(data), recipe.batch_size, generator):
                optimizer.zero_grad(set_to_none=True)
                batch = placed(augmented(data.batch(rows), recipe.augment), device)
                loss = step(batch, data.labels[rows], generator)
                if not math.isfinite(loss):
                    raise TrainingError(_diverged(loss, epoch, recipe, checkpoint))
                nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
                optimizer.step()
                scheduler.step()
                total += loss * len(rows)
        losses.append(total / len(data))
        if checkpoint is not None:
            _save(checkpoint, model, optimizer, scheduler, generator, losses)
        on_epoch(epoch + 1, losses[-1])
    model.eval()
    return losses


def cross_entropy_step(model: nn.Module, recipe: Recipe) -> Step:
    """Return the step of ordinary training."""
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def step(images: Tensor, labels: Tensor, _generator: torch.Generator) -> float:
        loss: Tensor = criterion(model(images), labels)
        loss.backward()
        return loss.item()

    return step


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield shuffled row numbers; a last single row joins the batch before it (batch norm needs two)."""
    batches = list(torch.randperm(count, generator=generator).split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return iter(batches)


class _seeded:  # noqa: N801 - a context manager, used like a function
    """Seed torch's global generator, which augmentation and dropout draw from, and put it back after."""

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self._seed = int(torch.randint(2**62, (), generator=generator))
        self._fork = torch.random.fork_rng([device] if device.type == "cuda" else [])

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *error: Any) -> None:
        self._fork.__exit__(*error)


def _diverged(loss: float, epoch: int, recipe: Recipe, checkpoint: Path | None) -> str:
    kept = f" The state after epoch {epoch} is kept in {checkpoint}." if checkpoint and epoch else ""
    return (
        f"the training loss became {loss} in epoch {epoch + 1} of {recipe.epochs}, a finite number is "
        f"expected: lower the recipe's learning_rate ({recipe.learning_rate}) and train again in a new "
        f"directory (--out).{kept}"
    )


def _previous(checkpoint: Path) -> Path:
    return checkpoint.with_name(checkpoint.name + ".previous")


def _save(
    checkpoint: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    generator: torch.Generator,
    losses: list[float],
) -> None:
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "generator": generator.get_state(),
        "losses": losses,
    }
    # Through memory, because torch.save reports a full disk as a RuntimeError of its own.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with replacing(checkpoint) as temporary:
        temporary.write_bytes(buffer.getvalue())
        if checkpoint.exists():
            shutil.copyfile(checkpoint, _previous(checkpoint))


def _restore(
    checkpoint: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    generator: torch.Generator,
) -> list[float]:
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        generator.set_state(state["generator"])
        return [float(loss) for loss in state["losses"]]
    except Exception as error:  # a damaged pickle raises almost anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        previous = _previous(checkpoint)
        remedy = (
            f"replace it by {previous.name}, the state one epoch earlier"
            if previous.exists()
            else "delete it to train from the start"
        )
        raise DamagedFileError(
            f"the checkpoint {checkpoint} can't be read ({reason}): {remedy}, and run the same command again."
        ) from error
