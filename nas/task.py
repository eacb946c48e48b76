"""What a network is for, and how well it does it: parts that a user may bring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

from nas.inputs import Inputs, InputSpec
from nas.objective import Objective
from nas.space import FloatArray

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True)
class TaskFacts:
    """What cards and reports say of a task.

    Args:
        pipeline_tag: The Hugging Face Hub's word for it, such as ``image-classification``.
        item: What one item is called: ``image``, ``text``, ``point cloud``.
        outputs: The shape of the outputs without the batch, such as ``("10",)`` or ``("12", "height", "width")``.
        reading: How outputs read, as a clause: ``one number per class; the largest is the answer``.
        names: What the outputs stand for, by number, such as classes; empty where they have no names.
    """

    pipeline_tag: str
    item: str
    outputs: tuple[str, ...]
    reading: str
    names: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return them as plain values."""
        return {**asdict(self), "outputs": list(self.outputs), "names": list(self.names)}


@runtime_checkable
class Task(Protocol):
    """What a network is for. ``repr`` goes into the study's fingerprint, so a frozen dataclass does well."""

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the loss, a mean over the items, or over all that counts in them, such as pixels that have a label.

        A batch given twice has the same loss.

        Args:
            outputs: ``(n, *)`` of the network, n >= 1.
            targets: ``(n, *)`` as the data has them.
            label_smoothing: How much of each target is spread over all classes (Szegedy 2016); 0 and up to 1. Training
                passes the recipe's to every task; to one without classes it means nothing.
        """

    def imitation(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Return a student's loss against a teacher's outputs, both ``(n, *)``, a mean over the items."""

    def fault(self, targets: Tensor, outputs: Tensor | None = None) -> str | None:
        """Return what is wrong, as a clause that says what is expected; None where nothing is.

        Args:
            targets: ``(n, *)`` of a split.
            outputs: ``(n, *)`` of a network for them; None to look at the targets alone.
        """

    def facts(self, inputs: InputSpec) -> TaskFacts:
        """Return what cards say, given what the network takes."""


@runtime_checkable
class Quality(Protocol):
    """How well a network does what it is for: a value of any items' statistics, so that they are kept, not outputs.

    Its spread is that of a bootstrap over items, and a proxy subset is a choice of rows. A frozen dataclass does well.
    """

    @property
    def objective(self) -> Objective:
        """Name, unit, direction."""

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(n, k)`` of ``(n, *)`` outputs and targets: what each item adds to the value, kept as float64.

        Right or wrong; intersections and unions by class; squared errors.
        """

    def value(self, statistics: FloatArray) -> float:
        """Return the value of ``(n, k)`` statistics, n >= 1; NaN where they don't say one.

        They are those of any items, among which a class may be missing: a bootstrap leaves out values that are NaN. A
        candidate whose value of a whole split is NaN fails.
        """


@runtime_checkable
class Detailed(Protocol):
    """What a quality has besides, where it is a mean over parts that are worth a table, such as classes."""

    def details(self, statistics: FloatArray) -> FloatArray:
        """Return ``(p,)`` values of ``(n, k)`` statistics, named by :attr:`TaskFacts.names`; NaN for none."""


@runtime_checkable
class Confusable(Protocol):
    """What a task has besides, where an answer is one class: which classes are taken for which."""

    def confusion(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``(k, k)`` int64 for k classes: how many items of the class of a row are taken for that of a column.

        Args:
            outputs: ``(n, *)``.
            targets: ``(n, *)``.
        """


@runtime_checkable
class Decoded(Protocol):
    """What a quality has besides, where it judges answers that a network gives step by step."""

    def decode(self, predict: Callable[[Inputs], Tensor], inputs: Inputs) -> Tensor:
        """Return ``(n, *)`` outputs for ``(n, *)`` inputs, of which an answer that is known must not be used.

        Args:
            predict: Returns the network's outputs; may be called as often as is needed.
            inputs: As the data have them.
        """


@runtime_checkable
class Illustrated(Protocol):
    """What a task has besides, where what a network makes of an item can be seen."""

    def draw_examples(self, inputs: Inputs, targets: Tensor, outputs: Tensor) -> bytes:
        """Return a PNG of a few items: what went in, what is true, and what came out.

        Args:
            inputs: ``(n, *)``, as the data hold them: not normalised, where that is known.
            targets: ``(n, *)``.
            outputs: ``(n, *)``.
        """


@runtime_checkable
class Probabilistic(Protocol):
    """What a task has besides, where outputs stand for probabilities: how certain and how different these are."""

    def entropies(self, outputs: Tensor) -> Tensor:
        """Return ``(n,)``: how uncertain ``(n, *)`` outputs are, in nats, a mean over the parts of an item."""

    def divergences(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return ``(n,)`` Kullback-Leibler divergences from ``others`` to ``outputs``, both ``(n, *)``.

        That is the mean, over what ``outputs`` hold likely, of how much less likely ``others`` hold it; a mean over
        the parts of an item.
        """
