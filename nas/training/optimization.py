"""A step of the optimizer: scaled losses, clipped gradients, the learning rate's schedule, averaged weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nas.training.checkpoint import Stateful
from nas.training.recipe import Recipe
from nas.training.reduced_space import UnitSpheres
from nas.training.watching import Watcher

_WARM_UP = 0.15
"""Share of the steps in which the learning rate rises; torch's own is 0.3. Chosen, not measured: half of torch's leaves
short trainings more steps at falling rates, and with a tenth of it a training of a few epochs would hardly warm up."""


@final
class Optimization:
    """What follows from a batch's gradients, and what of it is remembered from batch to batch.

    Args:
        model: Model to train, on ``device`` already.
        recipe: How to train.
        num_steps: Number of steps of the whole training.
        device: Where it is trained.
        watcher: Called around every step.
        spheres: Hold weights after every step.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        num_steps: int,
        device: torch.device,
        watcher: Watcher | None,
        spheres: UnitSpheres | None,
    ) -> None:
        self._model, self._watcher, self._spheres = model, watcher, spheres
        self._max_norm = recipe.max_grad_norm
        self.parameters = list(model.parameters())
        self._optimizer = torch.optim.AdamW(
            self.parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        # A schedule of one step would begin at its end, where the rate is next to nothing.
        self._scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, recipe.learning_rate, total_steps=max(2, num_steps), pct_start=_WARM_UP
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")
        self.average = None if recipe.ema_decay is None else average_model(model, recipe.ema_decay)

    def list_states(self) -> dict[str, Stateful]:
        """Return what a checkpoint holds, by name."""
        states: dict[str, Stateful] = {
            "model": self._model,
            "optimizer": self._optimizer,
            "scheduler": self._scheduler,
            "scaler": self._scaler,
        }
        if self.average is not None:
            states["average"] = self.average
        if self._watcher is not None:
            states["watcher"] = self._watcher
        return states

    def clear_gradients(self) -> None:
        """Forget the gradients of the last batch."""
        # None instead of zeros: a weight that no subnet of a batch uses then has no step at all, whereas zeros would
        # let AdamW's momentum and weight decay move it.
        self._optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor, weight: float) -> None:
        """Add a loss's gradients to the parameters'.

        Args:
            loss: Mean over the items of a part of the batch.
            weight: The part's share of the batch.
        """
        self._scaler.scale(loss if weight == 1.0 else loss * weight).backward()

    def take_step(self) -> float | None:
        """Return the gradients' norm, and take the step where it is finite.

        Gradients that overflow because they are scaled don't count: None is returned, and the next ones are
        scaled by less.
        """
        self._scaler.unscale_(self._optimizer)  # first, because the norm is limited in the loss's own unit
        if self._watcher is not None:
            self._watcher.before_update()
        norm = nn.utils.clip_grad_norm_(self.parameters, self._max_norm).item()
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
            if self.average is not None:
                self.average.update_parameters(self._model)
        return norm if is_finite else None

    def finish(self) -> None:
        """Leave the model in evaluation mode, with averaged weights where the recipe asks for them."""
        if self.average is not None:
            self._model.load_state_dict(self.average.module.state_dict())
            if self._spheres is not None:  # an average of lengths of 1 is shorter
                self._spheres.hold()
        self._model.eval()


def average_model(model: nn.Module, decay: float) -> AveragedModel:
    """Return a moving average of a model's weights and buffers, whose decay grows to the one given.

    After ``n`` steps it is at most ``(1 + n) / (10 + n)``, as TensorFlow's ``ExponentialMovingAverage`` has it: with
    0.999 from the start, a training of 200 steps would end with an average that is mostly the first, random weights.
    """

    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Tensor | int) -> None:
        # The argument is a copy on the GPU: to read it would wait for the step.
        steps = int(average.n_averaged)
        warmed_up = min(decay, (1 + steps) / (10 + steps))
        get_ema_multi_avg_fn(warmed_up)(averaged, current, num_averaged)

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    return average
