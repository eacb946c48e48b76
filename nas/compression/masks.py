"""What holds the weights that aren't kept at 0 while a network trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from nas.compression.schedules import MaskSchedule


@final
class WeightMasks:
    """Holds the weights that aren't kept at 0, and renews masks: a watcher of a training.

    Args:
        weights: By name.
        densities: The shares that are kept in the end, in the same order.
        schedule: Which weights are kept, and when that changes.
        num_steps: Number of steps of the training.
        seed: Seed of what the schedule draws.
    """

    def __init__(
        self,
        weights: Mapping[str, nn.Parameter],
        densities: Sequence[float],
        schedule: MaskSchedule,
        *,
        num_steps: int,
        seed: int,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._weights, self._schedule, self._num_steps = weights, schedule, num_steps
        self._densities = dict(zip(weights, densities, strict=True))
        self._masks = {
            name: schedule.begin(weight.detach(), self._densities[name], generator)
            for name, weight in weights.items()
        }
        self._steps = 0
        self.hold()

    @property
    def kept(self) -> float:
        """The share of the weights that is kept now."""
        masks = self._masks.values()
        return sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    @torch.no_grad()
    def hold(self) -> None:
        """Set what isn't kept to 0."""
        for name, weight in self._weights.items():
            weight.mul_(self._masks[name])

    def before_update(self) -> None:
        """Renew masks where it is time, and leave only gradients of what is kept."""
        due = self._schedule.is_due(self._steps, self._num_steps)
        for name, weight in self._weights.items():
            if weight.grad is None:  # nothing of the loss depends on it
                continue
            if due and self._densities[name] < 1:
                progress = self._steps / self._num_steps
                self._masks[name] = self._schedule.renew(
                    weight, self._masks[name], self._densities[name], progress
                )
            weight.grad.mul_(self._masks[name])

    def after_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Hold weights at 0; what the optimizer remembers of them is forgotten."""
        self._steps += 1
        self.hold()
        for name, weight in self._weights.items():
            # Otherwise momentum would move weights that were let go, and be old where a weight comes back.
            for remembered in optimizer.state[weight].values():
                if isinstance(remembered, Tensor) and remembered.shape == weight.shape:
                    remembered.mul_(self._masks[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the masks and how many steps were taken."""
        return {"steps": self._steps, "masks": self._masks}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take them over."""
        self._steps = int(state["steps"])
        self._masks = {name: state["masks"][name].to(weight.device) for name, weight in self._weights.items()}
