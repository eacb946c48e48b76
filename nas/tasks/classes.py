"""What tasks with classes have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from nas.checks import quote
from nas.errors import DataError
from nas.inputs import InputSpec
from nas.task import TaskFacts

_KINDS = {"text": "text", "image": "image", "item": "tabular"}
"""The Hub's words for what is classified, by what an item is called."""


@dataclass(frozen=True)
class ItemClasses(ABC):
    """What tasks share that tell classes of an item as a whole: outputs are ``(n, num_classes)`` logits.

    Args:
        num_classes: How many there are.
        class_names: Their names, in order; empty where they have none.

    Raises:
        DataError: there are fewer than two classes, or another number of names.
    """

    num_classes: int
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_classes(self, self.num_classes, self.class_names)

    @property
    @abstractmethod
    def reading(self) -> str:
        """How outputs read, as a clause."""

    def fault(self, targets: Tensor, outputs: Tensor | None = None) -> str | None:
        """Return what is wrong with targets, or with outputs for them."""
        if outputs is not None:
            return wrong_shape(outputs, (len(targets), self.num_classes))
        return self.targets_fault(targets)

    @abstractmethod
    def targets_fault(self, targets: Tensor) -> str | None:
        """Return what is wrong with targets."""

    def facts(self, inputs: InputSpec) -> TaskFacts:
        """Return what cards say."""
        tag = f"{_KINDS[inputs.item]}-classification"
        return TaskFacts(tag, inputs.item, (str(self.num_classes),), self.reading, self.class_names)


class OneClassEach:
    """What tasks share whose outputs are ``(n, classes, *positions)`` logits: one class for each position.

    An item without positions is one of its own.
    """

    def imitation(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Return the cross-entropy with a teacher's probabilities (Hinton 2015, at temperature 1).

        It is a mean over all positions.
        """
        return F.cross_entropy(outputs, teacher.softmax(dim=1))

    def entropies(self, outputs: Tensor) -> Tensor:
        """Return the entropy of each item, a mean over all positions."""
        return class_entropies(outputs)

    def divergences(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return the divergence of each item, a mean over all positions."""
        return class_divergences(outputs, others)


def check_classes(task: object, num_classes: object, class_names: object) -> None:
    """Check a number of classes and their names.

    Raises:
        DataError: there are fewer than two classes, another number of names, or either is of another kind.
    """
    name = type(task).__name__
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 2:
        raise DataError(f"{name} has num_classes={quote(num_classes)}: an integer from 2 on is expected.")
    are_names = isinstance(class_names, tuple) and all(isinstance(one, str) for one in class_names)
    if not are_names or len(class_names) not in (0, num_classes):  # type: ignore[arg-type]
        raise DataError(
            f"{name} has class_names={quote(class_names)}: a tuple of {num_classes} strings, or none, is expected."
        )


def wrong_shape(outputs: Tensor, expected: tuple[int, ...]) -> str | None:
    """Return that outputs have another shape than expected, as a clause; None where they have it."""
    shape = tuple(outputs.shape)
    return None if shape == expected else f"the output has shape {shape} and {expected} is expected"


def class_entropies(outputs: Tensor) -> Tensor:
    """Return ``(n,)`` entropies of ``(n, classes, *positions)`` logits, a mean over positions."""
    logs = outputs.log_softmax(dim=1)
    return _mean_of_positions(-(logs.exp() * logs).sum(dim=1))


def class_divergences(outputs: Tensor, others: Tensor) -> Tensor:
    """Return ``(n,)`` Kullback-Leibler divergences from ``others`` to ``outputs``, a mean over positions."""
    logs = outputs.log_softmax(dim=1)
    return _mean_of_positions((logs.exp() * (logs - others.log_softmax(dim=1))).sum(dim=1))


def _mean_of_positions(values: Tensor) -> Tensor:
    return values.flatten(1).mean(dim=1) if values.ndim > 1 else values
