"""BD-KD: a teacher that learns beside its student, and divergences in both directions."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from nas.checks import check_numbers, quote
from nas.errors import StudyError
from nas.inputs import Inputs, call_network
from nas.task import Probabilistic, Task
from nas.training.distillation.protocol import Lesson, check_softening
from nas.training.recipe import Recipe
from nas.training.steps import Losses, check_alike, prepare_batch


@final
@dataclass(frozen=True)
class BalancedDistillation:
    """Student and teacher learn together; the student by two divergences that are balanced item by item (Amara 2022).

    Where the student is more certain than the teacher, the forward divergence KL(teacher || student) counts more, which
    spreads its probabilities; where it is less certain, the reverse one, which gathers them. The teacher is a copy
    of the largest one, and learns from the targets and by the reverse divergence.

    A *variant*: the paper's coefficients are not public to us, and its teacher begins untrained, while ours begins with
    the weights that it has.

    Args:
        temperature: Divides both networks' outputs before they are compared.
        weight: The other network's share of each loss; the targets have the rest.
        balance: The share of the divergence that counts more, from 0.5 to 1.

    Raises:
        StudyError: a number is out of range.
    """

    temperature: float = 1.0
    weight: float = 0.5
    balance: float = 0.75

    def __post_init__(self) -> None:
        check_softening(self, self.temperature, self.weight)
        check_numbers(self, "balance")
        if not 0.5 <= self.balance <= 1:
            raise StudyError(f"BalancedDistillation has balance={self.balance}: 0.5 to 1 is expected.")

    def lesson(self, student: nn.Module, teachers: Sequence[nn.Module], task: Task, recipe: Recipe) -> Lesson:
        """Return the student beside a copy of the teacher, and the step of both."""
        if not isinstance(task, Probabilistic):
            raise StudyError(
                f"BalancedDistillation compares probabilities and {quote(task)} has none: use Hinton()."
            )
        both = nn.ModuleList([student, copy.deepcopy(teachers[-1]).requires_grad_(True)])

        def step(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
            batch = prepare_batch(inputs, targets, recipe, generator)
            outputs, taught = (call_network(network, batch.inputs) for network in both)
            check_alike(outputs, taught)
            hard = [batch.loss(task, found, recipe.label_smoothing) for found in (outputs, taught)]
            yield self._total(hard[0], self._balance(task, self._soft(outputs), self._soft(taught.detach())))
            yield self._total(
                hard[1], task.divergences(self._soft(outputs.detach()), self._soft(taught)).mean()
            )

        return Lesson(both, step)

    def _soft(self, outputs: Tensor) -> Tensor:
        return outputs / self.temperature

    def _total(self, hard: Tensor, soft: Tensor) -> Tensor:
        return (1 - self.weight) * hard + self.weight * self.temperature**2 * soft

    def _balance(self, task: Probabilistic, outputs: Tensor, taught: Tensor) -> Tensor:
        with torch.no_grad():
            too_certain = task.entropies(outputs) < task.entropies(taught)
        forward, reverse = task.divergences(taught, outputs), task.divergences(outputs, taught)
        share = torch.where(too_certain, self.balance, 1 - self.balance)
        return (share * forward + (1 - share) * reverse).mean()
