"""What tasks with classes have in common."""

from __future__ import annotations

from torch import Tensor

from nas.checks import quote
from nas.errors import DataError
from nas.inputs import InputSpec


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


def name_classification(inputs: InputSpec) -> str:
    """Return the Hub's word for telling classes of such inputs."""
    kind = {"text": "text", "image": "image", "item": "tabular"}[inputs.item]
    return f"{kind}-classification"


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
