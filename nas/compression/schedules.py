"""Which weights of a layer are kept while it trains: two schedules and their control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, final, runtime_checkable

import torch
from torch import Tensor

from nas.checks import check_integers, check_numbers
from nas.compression.densities import anneal_drop, gradual_density
from nas.errors import StudyError


@runtime_checkable
class MaskSchedule(Protocol):
    """Says which weights of a layer are kept. ``repr`` goes into digests of what is made: a frozen dataclass."""

    @property
    def name(self) -> str:
        """What people read of it."""

    def begin(self, weight: Tensor, density: float, generator: torch.Generator) -> Tensor:
        """Return the first mask of a layer: True for weights that are kept."""

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether masks are renewed at a step, counted from 0."""

    def renew(self, weight: Tensor, mask: Tensor, density: float, progress: float) -> Tensor:
        """Return the next mask.

        Args:
            weight: With its gradient, of those weights too that are held at 0.
            mask: The last one.
            density: The share that is kept in the end.
            progress: From 0 at the training's begin to 1 at its end.
        """


@final
@dataclass(frozen=True)
class StaticMask:
    """Keeps what it begins with: the control of the other two.

    Args:
        begin_with: The weights that are largest, or random ones.
    """

    begin_with: Literal["largest", "random"] = "largest"
    name: str = "static mask"

    def __post_init__(self) -> None:
        _check_begin(self, self.begin_with)

    def begin(self, weight: Tensor, density: float, generator: torch.Generator) -> Tensor:
        """Return the mask."""
        return _first_mask(self.begin_with, weight, density, generator)

    def is_due(self, step: int, num_steps: int) -> bool:
        """Return False: its mask stays."""
        return False

    def renew(self, weight: Tensor, mask: Tensor, density: float, progress: float) -> Tensor:
        """Return the same."""
        return mask


@final
@dataclass(frozen=True)
class Gradual:
    """Begins with all weights and lets go of the smallest, many at first and then fewer (Zhu 2018).

    Args:
        updates: How often.
        until: The share of the training after which masks stay.

    Raises:
        StudyError: a number is out of range.
    """

    updates: int = 100
    until: float = 0.75
    name: str = "gradual"

    def __post_init__(self) -> None:
        _check_updates(self, self.updates, self.until)

    def begin(self, weight: Tensor, density: float, generator: torch.Generator) -> Tensor:
        """Return a mask that keeps all weights."""
        return torch.ones_like(weight, dtype=torch.bool)

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether it is one of the updates."""
        return _is_due(step, num_steps, self.updates, self.until)

    def renew(self, weight: Tensor, mask: Tensor, density: float, progress: float) -> Tensor:
        """Keep the largest of those that are left."""
        return _largest(weight.detach().abs(), gradual_density(density, progress / self.until))


@final
@dataclass(frozen=True)
class RigL:
    """Exchanges the smallest weights for those that the loss asks for most: with the largest gradients (Evci 2020).

    The number of weights is that of the end from the first step on. Where masks are renewed, the step of the optimizer
    is taken too, with the new ones, while the paper leaves it out.

    Args:
        drop: Share of a layer's weights that is exchanged at first; falls to 0.
        updates: How often, as far as the training has that many steps.
        until: The share of the training after which masks stay.
        begin_with: The weights that are largest, or random ones as in the paper, which trains from scratch.

    Raises:
        StudyError: a setting is out of range.
    """

    drop: float = 0.3
    updates: int = 100
    until: float = 0.75
    begin_with: Literal["largest", "random"] = "largest"
    name: str = "RigL"

    def __post_init__(self) -> None:
        _check_updates(self, self.updates, self.until)
        _check_begin(self, self.begin_with)
        check_numbers(self, "drop")
        if not 0 < self.drop < 1:
            raise StudyError(f"RigL has drop={self.drop}: a share between 0 and 1 is expected.")

    def begin(self, weight: Tensor, density: float, generator: torch.Generator) -> Tensor:
        """Return the mask of the first steps."""
        return _first_mask(self.begin_with, weight, density, generator)

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether it is one of the updates; not at the first step, before anything was learned."""
        return step > 0 and _is_due(step, num_steps, self.updates, self.until)

    def renew(self, weight: Tensor, mask: Tensor, density: float, progress: float) -> Tensor:
        """Exchange some."""
        count = int(mask.sum())
        exchanged = int(anneal_drop(self.drop, progress / self.until) * count)
        sizes = weight.detach().abs().masked_fill(~mask, -1.0)  # behind all that are kept
        kept = _top(sizes, count - exchanged)
        assert weight.grad is not None
        # Behind those that stay, so that they aren't chosen twice and as many are kept as before.
        wanted = weight.grad.abs().masked_fill(kept, -1.0)
        return kept | _top(wanted, exchanged)


def _first_mask(begin_with: str, weight: Tensor, density: float, generator: torch.Generator) -> Tensor:
    if begin_with == "largest":
        return _largest(weight.abs(), density)
    return _largest(torch.rand(weight.shape, generator=generator), density).to(weight.device)


def _largest(sizes: Tensor, density: float) -> Tensor:
    return _top(sizes, max(1, round(density * sizes.numel())))  # without any, a layer would be a constant


def _top(sizes: Tensor, count: int) -> Tensor:
    mask = torch.zeros(sizes.numel(), dtype=torch.bool, device=sizes.device)
    mask[sizes.flatten().topk(count).indices] = True
    return mask.view(sizes.shape)


def _is_due(step: int, num_steps: int, updates: int, until: float) -> bool:
    """Whether a step is one of so many evenly spaced ones, the last of which ends the changes."""
    last = max(1, int(until * num_steps))
    return step <= last and step * updates // last > (step - 1) * updates // last


def _check_updates(settings: object, updates: int, until: float) -> None:
    check_integers(settings, "updates")
    check_numbers(settings, "until")
    if not (updates >= 1 and 0 < until <= 1):
        raise StudyError(
            f"{type(settings).__name__} has updates={updates} and until={until}: 1 or more updates, and a share of the "
            "training above 0 and up to 1, are expected."
        )


def _check_begin(settings: object, begin_with: object) -> None:
    if begin_with not in ("largest", "random"):
        raise StudyError(
            f"{type(settings).__name__} has begin_with={begin_with!r}: 'largest' or 'random' is expected."
        )
