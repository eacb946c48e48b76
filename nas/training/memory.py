"""What to do when a batch doesn't fit into memory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from nas.errors import NasError, OutOfMemoryError, TrainingError

logger = logging.getLogger(__name__)

T = TypeVar("T")

FEWEST_TO_SPLIT = 4
"""Images that can be taken in two parts, because batch norm needs two in each."""

_TEXTS = (
    "can't allocate memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What torch says in errors that have no type of their own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or for torch's CPU allocator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _TEXTS)


def out_of_memory(images: int, batch_size: int, accumulate: int, *, halves: bool) -> TrainingError:
    """Return the error that says which batch size to try.

    Args:
        images: How many went through the network at a time when memory ran out.
        batch_size: The recipe's.
        accumulate: The recipe's, or what it had become.
        halves: Whether ``halve_on_oom`` would do anything here.
    """
    if images < FEWEST_TO_SPLIT:
        return TrainingError(
            _too_large("a single image" if images < 2 else f"only {images} images at a time")
        )
    by_itself = "; halve_on_oom=True does the first by itself" if halves else ""
    return TrainingError(
        f"memory ran out with {images} images at a time: try accumulate={accumulate * 2} in the recipe, which takes "
        f"the same batches of {batch_size} in parts of about {images // 2} and goes on in the same directory, or "
        f"batch_size={batch_size // 2}, which trains anew, for a study's own recipe in another directory "
        f"(--out){by_itself}."
    )


def _too_large(what: str) -> str:
    return f"memory ran out with {what}: use smaller images, a smaller largest network, or another device."


@contextlib.contextmanager
def explain_out_of_memory() -> Iterator[None]:
    """Turn an error that says that memory ran out into a sentence, where smaller batches wouldn't help.

    Raises:
        TrainingError: memory ran out.
    """
    try:
        yield
    except NasError:
        raise
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            "memory ran out with the weights, their average (ema_decay) and what the optimizer keeps of them, apart "
            "from any images: use a smaller largest network, or another device."
        ) from error


def halve_to_fit(work: Callable[[int], T], size: int, doing: str) -> T:
    """Return ``work(size)``; where memory runs out, do it again with half as many images at a time.

    Args:
        work: Takes how many images to send through a network at a time; may be called again.
        size: Number of images to begin with.
        doing: For the log.

    Raises:
        OutOfMemoryError: memory ran out with a single image.
    """
    while True:
        try:
            return work(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if size < 2:
                raise OutOfMemoryError(_too_large("a single image")) from error
        # Outside the handler, whose traceback would hold on to the tensors that didn't fit.
        torch.cuda.empty_cache()
        logger.warning(
            "memory ran out in %s with %d images at a time: it is done with %d", doing, size, size // 2
        )
        size //= 2
