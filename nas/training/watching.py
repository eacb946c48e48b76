"""What may be done around each step of the optimizer, beyond a step's losses."""

from __future__ import annotations

from typing import Any, Protocol

import torch


class Watcher(Protocol):
    """Looks after gradients and weights, such as those that must stay 0. Its state goes into checkpoints."""

    def before_update(self) -> None:
        """Look at, or change, the gradients: whole, and not clipped yet."""

    def after_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Look at, or change, the weights and the optimizer's averages."""

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers as tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Take over what it remembered."""
