"""What to do when a batch doesn't fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from nas.errors import OutOfMemoryError, TrainingError

logger = logging.getLogger(__name__)

T = TypeVar("T")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or for torch's CPU allocator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def out_of_memory(images: int, batch_size: int, accumulate: int) -> TrainingError:
    """Return the error that says which batch size to try.

    Args:
        images: How many went through the network at a time when memory ran out.
        batch_size: Of the recipe.
        accumulate: Of the recipe, or what it had become.
    """
    if images < 2:
        return TrainingError(
            "memory ran out with a single image: use smaller images, a smaller largest network, or another device."
        )
    parts = accumulate * 2
    return TrainingError(
        f"memory ran out with {images} images at a time: try accumulate={parts} in the recipe, which takes the same "
        f"batches of {batch_size} in parts of about {max(1, images // 2)}, or batch_size={max(1, batch_size // 2)}; "
        "on a GPU halve_on_oom=True does the first by itself. Finished epochs are kept."
    )


def halved_to_fit(work: Callable[[int], T], size: int, doing: str) -> T:
    """Return ``work(size)``; where memory runs out, do it again with half as many images at a time.

    Args:
        work: Takes how many images to send through a network at a time; may be called again.
        size: To begin with.
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
                raise OutOfMemoryError(str(out_of_memory(1, 1, 1))) from error
        # Outside the handler, whose traceback would hold on to the tensors that didn't fit.
        torch.cuda.empty_cache()
        logger.warning(
            "memory ran out in %s with %d images at a time: it is done with %d", doing, size, size // 2
        )
        size //= 2
