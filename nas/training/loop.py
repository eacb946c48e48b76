"""The loop: epochs, batches, parts of batches; resumable bit for bit on a CPU."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nas.checks import failing_as, quote
from nas.data.augment import augment
from nas.errors import TrainingError
from nas.inputs import Inputs, count_items, place_inputs
from nas.splits import Split
from nas.training.checkpoint import Stateful, load_checkpoint, save_checkpoint
from nas.training.depth import StochasticDepth
from nas.training.kardam import GradientFilter
from nas.training.memory import FEWEST_TO_SPLIT, is_out_of_memory, out_of_memory, out_of_memory_told
from nas.training.ranks import ALONE, Ranks
from nas.training.recipe import Recipe
from nas.training.reduced_space import UnitSpheres
from nas.training.shares import SpeedShares
from nas.training.steps import Step
from nas.training.watching import Watcher

logger = logging.getLogger(__name__)

_MEND_TRAINING = "let the network's forward work in training as it does in evaluation"
_MEND_ONE = "batch norm needs two values per channel, so give it a batch_size and a train split of 2 or more"


@out_of_memory_told()
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
        model: Its parameters are optimised; moved to ``device``.
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
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = _on_device(data, device)
    generator = torch.Generator().manual_seed(seed)
    spheres = UnitSpheres(model, data, device) if recipe.reduced_space else None
    loop = _Loop(model, step, recipe, len(data), device, ranks, watcher, spheres, clock)
    losses: list[float] = []
    if ranks.agree(checkpoint is not None and checkpoint.exists()) and checkpoint is not None:
        losses = loop.restore(checkpoint, generator)
    for epoch in range(len(losses), recipe.epochs):
        model.train()
        total = 0.0
        with _seed(generator, device, ranks.rank), loop.depth.apply():
            for rows in _batches(len(data), recipe.batch_size, generator):
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
        model: On ``device`` already.
        step: Yields the losses.
        recipe: How to train.
        num_items: Number of items of the training split.
        device: Where.
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
        self._watcher, self._spheres, self._clock = watcher, spheres, clock
        self._model, self._step, self._recipe, self._device, self._ranks = model, step, recipe, device, ranks
        self._parameters = list(model.parameters())
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer,
            recipe.learning_rate,
            # A schedule of one step would begin at its end, where the rate is next to nothing.
            total_steps=max(2, count_steps(num_items, recipe)),
            pct_start=0.15,
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")
        self._average = _average(model, recipe.ema_decay)
        self.depth = StochasticDepth(model, recipe.stochastic_depth)
        self._accumulate = recipe.accumulate
        # Other processes wouldn't know that this one begins its batch again.
        self._can_halve = device.type == "cuda" and ranks.size == 1
        self._may_halve = self._can_halve and recipe.halve_on_oom
        self._parts: dict[str, Stateful] = {
            "model": model,
            "optimizer": self._optimizer,
            "scheduler": self._scheduler,
            "scaler": self._scaler,
        }
        if self._average is not None:
            self._parts["average"] = self._average
        if watcher is not None:
            self._parts["watcher"] = watcher
        self._speeds = SpeedShares(ranks.size) if recipe.share_by_speed and ranks.size > 1 else None
        self._filter: GradientFilter | None = None
        if recipe.faulty_ranks:
            self._parts["filter"] = self._filter = GradientFilter(
                self._parameters, recipe.faulty_ranks, ranks
            )

    def batch(self, data: Split, rows: Tensor, generator: torch.Generator) -> _Taken:
        """Take one step of the optimizer on a batch."""
        before = generator.get_state()
        while True:
            try:
                loss = self._gradients(data, rows, generator)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._take_smaller_parts(rows, error)
            # Outside the handler, whose traceback would hold on to the tensors that didn't fit.
            torch.cuda.empty_cache()
            generator.set_state(before)
        return _Taken(loss, self._update() if math.isfinite(loss) else None)

    def _gradients(self, data: Split, rows: Tensor, generator: torch.Generator) -> float:
        """Add up the gradients of this process's parts of a batch, and over the processes."""
        self._optimizer.zero_grad(set_to_none=True)
        start = generator.get_state()
        total = torch.zeros((), device=self._device)
        begin, shares = self._clock(), self._shares(rows)
        for part, weight in shares:
            generator.set_state(start)  # every part of a batch, on every rank, goes through the same subnets
            inputs, targets = augment(data.rows(part), data.targets[part], self._recipe.augment, data.ignored)
            placed = place_inputs(data.normalise(inputs), self._device)
            self.depth.seed(generator)
            total += weight * self._backward(placed, targets, weight, generator)
        return self._over_ranks(total, shares, begin, len(rows)).item()

    def _over_ranks(
        self, loss: Tensor, shares: Sequence[tuple[Tensor, float]], begin: float, count: int
    ) -> Tensor:
        """Add up the gradients of the processes' shares of ``count`` items, and return the batch's loss."""
        if self._filter is not None:
            return self._filter.combine(loss, sum(weight for _, weight in shares))
        if self._speeds is None:
            return self._ranks.sum_gradients(self._parameters, loss[None])[0]
        if self._device.type == "cuda":  # which only now may have computed what it was given
            torch.cuda.synchronize(self._device)
        seconds = self._ranks.beside_others(loss.new_tensor(self._clock() - begin))
        own = sum(len(part) for part, weight in shares if weight > 0)
        items = self._ranks.beside_others(loss.new_tensor(own))
        sums = self._ranks.sum_gradients(self._parameters, torch.cat([loss[None], seconds, items]))
        took, of = sums[1:].view(2, -1).tolist()
        if min(of) > 0:
            self._speeds.note(of, took)
        return sums[0]

    def _backward(self, inputs: Inputs, targets: Tensor, weight: float, generator: torch.Generator) -> Tensor:
        """Take the gradients of a part's losses, one by one, and return the first loss."""
        first: Tensor | None = None
        count = count_items(inputs)
        advice, fault = _MEND_TRAINING if count > 1 else _MEND_ONE, f"training on {count} inputs failed"
        with failing_as(TrainingError, fault, advice, besides=is_out_of_memory):
            losses = self._step(inputs, targets, generator)
            if not isinstance(losses, Generator):
                raise TrainingError(
                    f"a training step gave {quote(losses)}: a generator of losses is expected."
                )
            with contextlib.closing(losses):
                while True:
                    with self._autocast():
                        loss = next(losses, None)
                    if loss is None:
                        break
                    _check_loss(loss)
                    first = loss.detach() if first is None else first
                    self._scaler.scale(loss if weight == 1.0 else loss * weight).backward()
        if first is None:
            raise TrainingError("a training step yielded no loss: at least one is expected.")
        return first

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self._recipe.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=getattr(torch, self._recipe.precision))

    def _shares(self, rows: Tensor) -> list[tuple[Tensor, float]]:
        """Return this process's parts of a batch and what each weighs in the batch's mean.

        No part has a single row where that can be helped, because batch norm needs two. A process for
        which nothing is left takes the first part with weight 0, so that it draws what the others draw.
        """
        sizes = None if self._speeds is None else self._speeds.divide(len(rows))
        if sizes is not None:
            share = rows.split(sizes)[self._ranks.rank]
            count = max(1, min(self._accumulate, len(share) // 2))
            return [(part, len(part) / len(rows)) for part in share.tensor_split(count)]
        count = max(1, min(self._accumulate * self._ranks.size, len(rows) // 2))
        parts = rows.tensor_split(count)
        own = parts[self._ranks.rank :: self._ranks.size]
        return [(part, len(part) / len(rows)) for part in own] or [(parts[0], 0.0)]

    def _update(self) -> float | None:
        """Return the gradients' norm, and take the step where it is finite.

        Gradients that overflow because they are scaled don't count: None is returned, and the next ones are
        scaled by less.
        """
        self._scaler.unscale_(self._optimizer)
        if self._watcher is not None:
            self._watcher.before_update()
        norm = nn.utils.clip_grad_norm_(self._parameters, self._recipe.max_grad_norm).item()
        scale = self._scaler.get_scale()  # 1 where nothing is scaled
        is_finite = math.isfinite(norm)
        if not is_finite and scale <= 1:
            return norm
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._spheres is not None:
            self._spheres.hold()
        if self._watcher is not None:
            self._watcher.after_update(self._optimizer)
        if self._scaler.get_scale() >= scale:  # otherwise the scaled gradients overflowed: nothing was done
            self._scheduler.step()
            if self._average is not None:
                self._average.update_parameters(self._model)
        return norm if is_finite else None

    def _take_smaller_parts(self, rows: Tensor, error: BaseException) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        most = max(len(part) for part, _ in self._shares(rows))
        if not self._may_halve or most < FEWEST_TO_SPLIT:
            raise out_of_memory(
                most, self._recipe.batch_size, self._accumulate, halves=self._can_halve
            ) from error
        self._accumulate *= 2
        logger.warning(
            "memory ran out with %d inputs at a time: batches are taken in %d parts from now on",
            most,
            self._accumulate,
        )

    def end_epoch(self) -> None:
        """Give every process the statistics of rank 0: the last ones, and the average's, which remain."""
        if self._filter is not None and self._ranks.first:
            self._filter.report()
        self._ranks.share_buffers(self._model)
        if self._average is not None:
            # Not the average itself: its counter is on the CPU, which NCCL doesn't know, and is the same everywhere.
            self._ranks.share_buffers(self._average.module)

    def save(self, path: Path, generator: torch.Generator, losses: list[float]) -> None:
        """Write the state after an epoch."""
        plain: dict[str, object] = {
            "generator": generator.get_state(),
            "losses": losses,
            "accumulate": self._accumulate,
        }
        if self._speeds is not None:
            plain["seconds_per_item"] = self._speeds.to_plain()
        save_checkpoint(path, self._parts, plain)

    def restore(self, path: Path, generator: torch.Generator) -> list[float]:
        """Take over the state in a file and return the losses until then."""
        state = load_checkpoint(path, self._parts, self._ranks)
        generator.set_state(state["generator"])
        if self._may_halve:  # what it had become; otherwise the recipe's holds
            self._accumulate = max(self._accumulate, int(state["accumulate"]))
        if self._speeds is not None:
            self._speeds.restore(state.get("seconds_per_item", []))
        logger.info("resumed from %s after %d epochs", path, len(state["losses"]))
        return [float(loss) for loss in state["losses"]]

    def finish(self) -> None:
        """Leave the model in evaluation mode, with averaged weights where the recipe asks for them."""
        if self._average is not None:
            self._model.load_state_dict(self._average.module.state_dict())
            if self._spheres is not None:  # an average of lengths of 1 is shorter
                self._spheres.hold()
        self._model.eval()


def _check_loss(loss: object) -> None:
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
        raise TrainingError(
            f"a training step yielded {quote(loss)} as a loss: a tensor of one float is expected."
        )
    if not loss.requires_grad:
        raise TrainingError(
            "the training loss doesn't depend on any parameter that can be trained: let the network's forward use "
            "torch's functions alone in training too, without numpy(), item(), detach() and no_grad()."
        )


def _on_device(data: Split, device: torch.device) -> Split:
    """Return the split on the device, or its targets alone where the inputs don't fit: these go batch by batch."""
    try:
        return data.to(device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    logger.warning(
        "the training inputs don't fit into the memory of %s: they are copied batch by batch", device
    )
    return dataclasses.replace(data, targets=data.targets.to(device))


def _average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None

    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Tensor | int) -> None:
        steps = int(
            average.n_averaged
        )  # the argument is a copy on the GPU, to read it would wait for the step
        warmed_up = min(decay, (1 + steps) / (10 + steps))
        get_ema_multi_avg_fn(warmed_up)(averaged, current, num_averaged)

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    return average


def count_steps(num_items: int, recipe: Recipe) -> int:
    """Return how many steps of the optimizer a training takes."""
    return recipe.epochs * len(_sizes(num_items, recipe.batch_size))


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield shuffled row numbers."""
    return iter(torch.randperm(count, generator=generator).split(_sizes(count, size)))


def _sizes(count: int, size: int) -> list[int]:
    """Return the sizes of an epoch's batches; a last single row joins the batch before it (batch norm needs two)."""
    whole, rest = divmod(count, size)
    sizes = [size] * whole + [rest] * (rest > 0)
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    return sizes


@contextlib.contextmanager
def _seed(generator: torch.Generator, device: torch.device, rank: int) -> Iterator[None]:
    """Seed torch's global generator, which augmentation and dropout draw from, and put it back after."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed + rank)
        yield


def _describe_divergence(fault: str, epoch: int, recipe: Recipe, checkpoint: Path | None) -> str:
    kept = f" The state after epoch {epoch} is kept in {checkpoint}." if checkpoint and epoch else ""
    return (
        f"{fault} in epoch {epoch + 1} of {recipe.epochs}, a finite number is expected: lower the recipe's "
        f"learning_rate ({recipe.learning_rate}) and train again in a new "
        f"directory (--out).{kept}"
    )
