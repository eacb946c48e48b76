"""The losses that a training step yields are checked and turned into gradients, one at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

import torch
from torch import Tensor

from nas.checks import failing_as, quote
from nas.errors import TrainingError
from nas.inputs import Inputs, count_items
from nas.training.memory import is_out_of_memory
from nas.training.steps import Step

_MEND_TRAINING = "let the network's forward work in training as it does in evaluation"
_MEND_ONE = "batch norm needs two values per channel, so give it a batch_size and a train split of 2 or more"


def add_gradients(
    step: Step,
    batch: tuple[Inputs, Tensor, torch.Generator],
    backward: Callable[[Tensor], None],
    autocast: Callable[[], contextlib.AbstractContextManager[object]],
) -> Tensor:
    """Take the gradients of a step's losses, one by one, and return the first loss.

    Each loss's graph is freed before the next loss is computed, so that memory holds one at a time.

    Args:
        step: Yields the losses.
        batch: Inputs, targets and the generator, as a step takes them.
        backward: Adds a loss's gradients to the parameters'.
        autocast: Makes a context for the forward passes alone, as torch asks for.

    Raises:
        TrainingError: the step failed, or what it yielded is no loss.
    """
    first: Tensor | None = None
    count = count_items(batch[0])
    advice, fault = _MEND_TRAINING if count > 1 else _MEND_ONE, f"training on {count} inputs failed"
    with failing_as(TrainingError, fault, advice, besides=is_out_of_memory):
        losses = step(*batch)
        if not isinstance(losses, Generator):
            raise TrainingError(f"a training step gave {quote(losses)}: a generator of losses is expected.")
        with contextlib.closing(losses):
            while True:
                with autocast():
                    loss = next(losses, None)
                if loss is None:
                    break
                _check_loss(loss)
                first = loss.detach() if first is None else first
                backward(loss)
    if first is None:
        raise TrainingError("a training step yielded no loss: at least one is expected.")
    return first


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
