"""A filter of gradients against processes that compute nonsense."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from nas.errors import StudyError
from nas.training.ranks import Ranks

logger = logging.getLogger(__name__)

_NEARLY_ALWAYS = 0.9
"""Share of an epoch's batches. Of four sound processes, one of which is left out each time, each is left out in a
quarter."""
_FEWEST_BATCHES = 10
"""Before anything is said of a process."""


def within_lipschitz(distances: Tensor, faulty: int) -> Tensor:
    """Return which of ``(n,)`` distances are among the ``n - faulty`` smallest, and finite; all where none is.

    The Lipschitz filter of Kardam (Damaskinos 2018, section 3): how far a gradient lies from the last one that was
    accepted, by how far the weights have moved since, is at most the ``(n - faulty) / n`` quantile of all workers'.
    Here all weights have moved equally far.
    """
    accepted = distances.isfinite() & (distances <= distances.sort().values[len(distances) - faulty - 1])
    return accepted if accepted.any() else torch.ones_like(accepted)


@final
class GradientFilter:
    """Leaves out of every batch the gradients of as many processes as may be faulty: those that stray most.

    A variant of Kardam's Lipschitz filter for processes that take their steps together: nothing is stale, so nothing is
    dampened, and everybody sends one gradient per step. They stray from the gradient that the last step was taken
    with, which all processes know, so a number per process is all that they tell each other besides.

    Args:
        parameters: What is trained.
        faulty: How many processes may be faulty.
        ranks: The processes that train together; one that is alone has nobody to be compared with.

    Raises:
        StudyError: there are fewer processes than three times the faulty ones and one.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], faulty: int, ranks: Ranks) -> None:
        if 1 < ranks.size < 3 * faulty + 1:
            raise StudyError(
                f"the recipe has faulty_ranks={faulty} and {ranks.size} processes train together: at least "
                f"{3 * faulty + 1} are needed to tell which are wrong, so begin more, or lower faulty_ranks."
            )
        self._parameters, self._faulty, self._ranks = parameters, faulty, ranks
        self._last: dict[int, Tensor] = {}
        self._batches = 0
        self._left_out = torch.zeros(ranks.size, dtype=torch.int64)

    def combine(self, loss: Tensor, weight: float) -> Tensor:
        """Replace every gradient by the batch's, without those that stray most, and return the loss of the rest.

        Args:
            loss: This process's part of the batch's mean.
            weight: This process's share of the batch.
        """
        if self._ranks.size == 1:
            return loss
        accepted = within_lipschitz(self._ranks.gather(self._measure_straying(loss, weight)), self._faulty)
        self._batches += 1
        self._left_out += ~accepted.cpu()
        used = self._find_used()
        own = torch.stack([loss, loss.new_tensor(weight)])
        if not accepted[self._ranks.rank]:
            own = torch.zeros_like(own)
            for gradient in used.values():
                gradient.zero_()
        total: Tensor
        total, kept = self._ranks.sum_gradients(self._parameters, own)
        for position, gradient in used.items():
            gradient.div_(kept)
            self._last[position] = gradient.clone()
        return total.div(kept)

    def report(self) -> None:
        """Warn of processes that were left out of nearly every batch since the last report."""
        if self._batches >= _FEWEST_BATCHES:
            for rank, count in enumerate(self._left_out.tolist()):
                if count >= _NEARLY_ALWAYS * self._batches:
                    logger.warning(
                        "the gradients of process %d were left out of %d of %d batches because they don't fit those of "
                        "the others: look after the machine or GPU that it runs on",
                        rank,
                        count,
                        self._batches,
                    )
        self._batches = 0
        self._left_out.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return the gradient of the last step."""
        return {"last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the gradient of the last step."""
        self._last = {
            position: gradient.to(self._parameters[position].device)
            for position, gradient in state["last"].items()
        }

    def _find_used(self) -> dict[int, Tensor]:
        """Return the gradients of the parameters that this batch's subnets have, by position."""
        return {i: p.grad for i, p in enumerate(self._parameters) if p.grad is not None}

    def _measure_straying(self, loss: Tensor, weight: float) -> Tensor:
        """Return how far the mean gradient of this process's items lies from the last step's; inf without items."""
        if weight == 0 or not math.isfinite(loss.item()):
            return loss.new_tensor(math.inf)
        squares = [
            (gradient / weight - self._last.get(i, torch.zeros_like(gradient))).square().sum()
            for i, gradient in self._find_used().items()
        ]
        return torch.stack(squares).sum().sqrt()
