"""How a batch is divided: among the processes, and into the parts that each takes one after the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from nas.training.memory import FEWEST_TO_SPLIT, out_of_memory
from nas.training.ranks import Ranks
from nas.training.recipe import Recipe
from nas.training.shares import SpeedShares

logger = logging.getLogger(__name__)


@final
class Division:
    """Divides batches; into more parts after memory ran out, and by speed after speeds were measured.

    Args:
        recipe: Says in how many parts a batch is taken, and whether that may change.
        device: Where this process trains.
        ranks: The processes that train together.
    """

    def __init__(self, recipe: Recipe, device: torch.device, ranks: Ranks) -> None:
        self._batch_size, self._accumulate, self._ranks = recipe.batch_size, recipe.accumulate, ranks
        # On a CPU the system rather ends a process than refuse it memory; and other processes wouldn't know that this
        # one begins its batch again.
        self._can_halve = device.type == "cuda" and ranks.size == 1
        self._may_halve = self._can_halve and recipe.halve_on_oom
        self.speeds = SpeedShares(ranks.size) if recipe.share_by_speed and ranks.size > 1 else None

    def divide(self, rows: Tensor) -> list[tuple[Tensor, float]]:
        """Return this process's parts of a batch and what each weighs in the batch's mean.

        No part has a single row where that can be helped, because batch norm needs two. A process for
        which nothing is left takes the first part with weight 0, so that it draws what the others draw.
        """
        sizes = None if self.speeds is None else self.speeds.divide(len(rows))
        if sizes is not None:
            share = rows.split(sizes)[self._ranks.rank]
            count = max(1, min(self._accumulate, len(share) // 2))
            return [(part, len(part) / len(rows)) for part in share.tensor_split(count)]
        count = max(1, min(self._accumulate * self._ranks.size, len(rows) // 2))
        parts = rows.tensor_split(count)
        own = parts[self._ranks.rank :: self._ranks.size]
        return [(part, len(part) / len(rows)) for part in own] or [(parts[0], 0.0)]

    def take_smaller_parts(self, rows: Tensor, error: BaseException) -> None:
        """Take batches in twice as many parts from now on, because memory ran out.

        Args:
            rows: The batch that didn't fit.
            error: What said so.

        Raises:
            TrainingError: parts can't be smaller, or the recipe doesn't allow it.
        """
        most = max(len(part) for part, _ in self.divide(rows))
        if not self._may_halve or most < FEWEST_TO_SPLIT:
            raise out_of_memory(most, self._batch_size, self._accumulate, halves=self._can_halve) from error
        self._accumulate *= 2
        logger.warning(
            "memory ran out with %d inputs at a time: batches are taken in %d parts from now on",
            most,
            self._accumulate,
        )

    def to_plain(self) -> dict[str, object]:
        """Return what was found out about memory and speeds, for a checkpoint."""
        plain: dict[str, object] = {"accumulate": self._accumulate}
        if self.speeds is not None:
            plain["seconds_per_item"] = self.speeds.to_plain()
        return plain

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over what was found out; where parts may not become more by themselves, the recipe's number holds."""
        if self._may_halve:
            self._accumulate = max(self._accumulate, int(plain["accumulate"]))
        if self.speeds is not None:
            self.speeds.restore(plain.get("seconds_per_item", []))
