"""The loop: epochs, batches, parts of batches; resumable bit for bit on a CPU."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from nas.data.augment import augment
from nas.errors import TrainingError
from nas.inputs import place_inputs
from nas.splits import Split
from nas.training.batches import count_steps, draw_batches, place_split, seed_epoch
from nas.training.checkpoint import load_checkpoint, save_checkpoint
from nas.training.depth import StochasticDepth
from nas.training.division import Division
from nas.training.kardam import GradientFilter
from nas.training.kept_memory import keep_freed_memory, return_freed_memory
from nas.training.losses import add_gradients
from nas.training.memory import explain_out_of_memory, is_out_of_memory
from nas.training.optimization import Optimization
from nas.training.ranks import ALONE, Ranks
from nas.training.recipe import Recipe
from nas.training.reduced_space import UnitSpheres
from nas.training.steps import Step
from nas.training.watching import Watcher

logger = logging.getLogger(__name__)


@explain_out_of_memory()
def train(
    model: nn.Module,
    step: Step,
    data: Split,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    ranks: Ranks = ALONE,
    checkpoint: Path | None = None,
    on_epoch: Callable[[int, float], None] = lambda _epoch, _loss: None,
    watcher: Watcher | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Train ``model`` in place and return the mean loss of each epoch.

    With a checkpoint path the whole state is saved after every epoch, and a later call goes on from
    there. On a CPU a resumed training ends with the same weights, bit for bit, as one that was never
    interrupted.

    With several ranks every process takes its share of each batch and all end with the same weights:
    those of one process with the same recipe, up to the order of sums. Augmentation and dropout differ,
    because every process draws its own, and batch norm sees one process's share at a time. Shares are equal,
    or follow the processes' speeds (``Recipe.share_by_speed``); these are measured, so that a resumed training
    then ends with the same weights up to the order of sums too.

    Args:
        model: Model whose parameters are optimised; moved to ``device``.
        step: What to do with a batch.
        data: The training split.
        recipe: How long and how fast.
        seed: Seed of shuffling, augmentation, dropout, and whatever ``step`` draws.
        device: Where to train.
        ranks: The processes that train together.
        checkpoint: File to resume from and to save to; the state before it is kept beside it.
        on_epoch: Called with the number of finished epochs and the last epoch's mean loss.
        watcher: Called around every step of the optimizer.
        clock: Tells seconds, for shares that follow speeds.

    Raises:
        TrainingError: a loss or its gradient is NaN or infinite, or memory ran out.
        StudyError: the device can't do the recipe's precision, the model has no neurons for its reduced space or no
            row of blocks to leave out, or there are too few ranks for so many faulty ones.
        DamagedFileError: the checkpoint can't be read.
    """
    recipe.check_device(device)
    keep_freed_memory()
    # PyTorch's convolutions are faster with channels last, on CPUs and on GPUs.
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = place_split(data, device)
    generator = torch.Generator().manual_seed(seed)
    spheres = UnitSpheres(model, data, device) if recipe.reduced_space else None
    loop = _Loop(model, step, recipe, len(data), device, ranks, watcher, spheres, clock)
    losses: list[float] = []
    if ranks.agree(checkpoint is not None and checkpoint.exists()) and checkpoint is not None:
        losses = loop.restore(checkpoint, generator)
    for epoch in range(len(losses), recipe.epochs):
        model.train()
        total = 0.0
        with seed_epoch(generator, device, ranks.rank), loop.depth.apply():
            for rows in draw_batches(len(data), recipe.batch_size, generator):
                taken = loop.batch(data, rows, generator)
                if taken.fault is not None:
                    raise TrainingError(_describe_divergence(taken.fault, epoch, recipe, checkpoint))
                total += taken.loss * len(rows)
        losses.append(total / len(data))
        loop.end_epoch()
        if checkpoint is not None and ranks.first:
            loop.save(checkpoint, generator, losses)
        on_epoch(epoch + 1, losses[-1])
    loop.finish()
    return_freed_memory()
    return losses


@final
@dataclass(frozen=True)
class _Taken:
    """What a step of the optimizer came to; where a number is not finite, no step was taken.

    Args:
        loss: Mean of the batch.
        gradient_norm: Before it was clipped; None where gradients were not looked at, because the loss is not
            finite, or don't count, because they overflowed only by their scale.
    """

    loss: float
    gradient_norm: float | None

    @property
    def fault(self) -> str | None:
        """What is not finite, in words; None where all is."""
        if not math.isfinite(self.loss):
            return f"the training loss became {self.loss}"
        if self.gradient_norm is not None and not math.isfinite(self.gradient_norm):
            return f"the norm of the training loss's gradient became {self.gradient_norm}"
        return None


@final
class _Loop:
    """What a training remembers between batches.

    Args:
        model: Model to train, on ``device`` already.
        step: Yields the losses.
        recipe: How to train.
        num_items: Number of items of the training split.
        device: Where to train.
        ranks: The processes that train together.
        watcher: Called around every step of the optimizer.
        spheres: Hold weights after every step of the optimizer.
        clock: Tells seconds.
    """

    def __init__(
        self,
        model: nn.Module,
        step: Step,
        recipe: Recipe,
        num_items: int,
        device: torch.device,
        ranks: Ranks,
        watcher: Watcher | None = None,
        spheres: UnitSpheres | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._model, self._step, self._recipe, self._device = model, step, recipe, device
        self._ranks, self._clock = ranks, clock
        self.depth = StochasticDepth(model, recipe.stochastic_depth)
        self.division = Division(recipe, device, ranks)
        self.optimization = Optimization(
            model, recipe, count_steps(num_items, recipe), device, watcher, spheres
        )
        self._states = self.optimization.list_states()
        self._filter: GradientFilter | None = None
        if recipe.faulty_ranks:
            self._filter = GradientFilter(self.optimization.parameters, recipe.faulty_ranks, ranks)
            self._states["filter"] = self._filter

    def batch(self, data: Split, rows: Tensor, generator: torch.Generator) -> _Taken:
        """Take one step of the optimizer on a batch."""
        before = generator.get_state()
        while True:
            try:
                loss = self._add_gradients(data, rows, generator)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self.optimization.clear_gradients()
                self.division.take_smaller_parts(rows, error)
            # Outside the handler, whose traceback would hold on to the tensors that didn't fit.
            torch.cuda.empty_cache()
            generator.set_state(before)
        return _Taken(loss, self.optimization.take_step() if math.isfinite(loss) else None)

    def _add_gradients(self, data: Split, rows: Tensor, generator: torch.Generator) -> float:
        """Add up the gradients of this process's parts of a batch, and over the processes; return the loss."""
        self.optimization.clear_gradients()
        start = generator.get_state()
        total = torch.zeros((), device=self._device)
        begin, shares = self._clock(), self.division.divide(rows)
        for part, weight in shares:
            generator.set_state(start)  # every part of a batch, on every rank, goes through the same subnets
            inputs, targets = augment(data.rows(part), data.targets[part], self._recipe.augment, data.ignored)
            placed = place_inputs(data.normalise(inputs), self._device)
            self.depth.seed(generator)
            backward = partial(self.optimization.backward, weight=weight)
            total += weight * add_gradients(
                self._step, (placed, targets, generator), backward, self._autocast
            )
        return self._sum_over_ranks(total, shares, begin).item()

    def _sum_over_ranks(self, loss: Tensor, shares: Sequence[tuple[Tensor, float]], begin: float) -> Tensor:
        """Add up the gradients of the processes' shares, and return the batch's loss.

        Args:
            loss: This process's part of it.
            shares: This process's parts of the batch, and their weights.
            begin: When this process began to compute them.
        """
        parameters, ranks, speeds = self.optimization.parameters, self._ranks, self.division.speeds
        if self._filter is not None:
            return self._filter.combine(loss, sum(weight for _, weight in shares))
        if speeds is None:
            return ranks.sum_gradients(parameters, loss[None])[0]
        if self._device.type == "cuda":  # which only now may have computed what it was given
            torch.cuda.synchronize(self._device)
        seconds = ranks.beside_others(loss.new_tensor(self._clock() - begin))
        own = sum(len(part) for part, weight in shares if weight > 0)
        items = ranks.beside_others(loss.new_tensor(own))
        # The times travel with the gradients: a message of their own would cost a second round trip per batch.
        sums = ranks.sum_gradients(parameters, torch.cat([loss[None], seconds, items]))
        took, of = sums[1:].view(2, -1).tolist()
        if min(of) > 0:
            speeds.note(of, took)
        return sums[0]

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self._recipe.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=getattr(torch, self._recipe.precision))

    def end_epoch(self) -> None:
        """Give every process the statistics of rank 0: the last ones, and the average's, which remain."""
        if self._filter is not None and self._ranks.first:
            self._filter.report()
        self._ranks.share_buffers(self._model)
        average = self.optimization.average
        if average is not None:
            # Not the average itself: its counter is on the CPU, which NCCL doesn't know, and is the same everywhere.
            self._ranks.share_buffers(average.module)

    def save(self, path: Path, generator: torch.Generator, losses: list[float]) -> None:
        """Write the state after an epoch."""
        plain = {"generator": generator.get_state(), "losses": losses, **self.division.to_plain()}
        save_checkpoint(path, self._states, plain)

    def restore(self, path: Path, generator: torch.Generator) -> list[float]:
        """Take over the state in a file and return the losses until then."""
        state = load_checkpoint(path, self._states, self._ranks)
        generator.set_state(state["generator"])
        self.division.restore(state)
        logger.info("resumed from %s after %d epochs", path, len(state["losses"]))
        return [float(loss) for loss in state["losses"]]

    def finish(self) -> None:
        """Leave the model in evaluation mode, with averaged weights where the recipe asks for them."""
        self.optimization.finish()


def _describe_divergence(fault: str, epoch: int, recipe: Recipe, checkpoint: Path | None) -> str:
    kept = f" The state after epoch {epoch} is kept in {checkpoint}." if checkpoint and epoch else ""
    return (
        f"{fault} in epoch {epoch + 1} of {recipe.epochs}, a finite number is expected: lower the recipe's "
        f"learning_rate ({recipe.learning_rate}) and train again in a new "
        f"directory (--out).{kept}"
    )
