"""Segmentation: one class for each position of an image or each point of a cloud."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast, final

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.checks import quote
from nas.errors import DataError
from nas.inputs import Inputs, InputSpec
from nas.task import TaskFacts
from nas.tasks.classes import OneClassEach, check_classes, wrong_shape

IGNORED = 255
"""The value of what is not labelled in Pascal VOC, Cityscapes and most others since."""


@final
@dataclass(frozen=True)
class SemanticSegmentation(OneClassEach):
    """One class for each position: outputs are ``(n, num_classes, *positions)`` logits, targets ``(n, *positions)``.

    Positions are the height and width of images, or the points of clouds. The loss is a weighted mean over the
    labelled positions of all items of a batch.

    Args:
        num_classes: Targets are smaller than this, or ``ignore_index``.
        class_names: By target; empty where they have none.
        ignore_index: The target of positions that neither teach nor count.
        class_weights: What a position of each class weighs in the loss; all the same where empty.

    Raises:
        DataError: an argument is out of range.
    """

    num_classes: int
    class_names: tuple[str, ...] = ()
    ignore_index: int = IGNORED
    class_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_classes(self, self.num_classes, self.class_names)
        ignored, weights = self.ignore_index, self.class_weights
        if not isinstance(ignored, int) or 0 <= ignored < self.num_classes:
            raise DataError(
                f"SemanticSegmentation has ignore_index={quote(ignored)}: an integer that is none of its "
                f"{self.num_classes} classes is expected."
            )
        finite = isinstance(weights, tuple) and all(math.isfinite(w) and w >= 0 for w in weights)
        if not finite or len(weights) not in (0, self.num_classes) or (weights and not any(weights)):
            raise DataError(
                f"SemanticSegmentation has class_weights={quote(weights)}: {self.num_classes} numbers of 0 or more, "
                "not all 0, or none at all, are expected."
            )

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy of the labelled positions; 0 where there are none."""
        weights = outputs.new_tensor(self.class_weights or (1.0,) * self.num_classes)
        targets = targets.long()
        total = F.cross_entropy(
            outputs,
            targets,
            weights if self.class_weights else None,
            ignore_index=self.ignore_index,
            label_smoothing=label_smoothing,
            reduction="sum",
        )
        labelled = targets != self.ignore_index
        weight = (weights[torch.where(labelled, targets, 0)] * labelled).sum()
        # torch's own mean is NaN for a batch without labelled positions, which would end the training.
        return total / weight.clamp(min=torch.finfo(weights.dtype).tiny)

    def fault(self, targets: Tensor, outputs: Tensor | None = None) -> str | None:
        """Return what is wrong with targets, or with outputs for them."""
        if outputs is not None:
            expected = (len(targets), self.num_classes, *targets.shape[1:])
            return wrong_shape(outputs, expected)
        if targets.dtype not in (torch.uint8, torch.int64) or targets.ndim < 2:
            return (
                f"targets are {targets.dtype} of shape {tuple(targets.shape)}: torch.uint8 or torch.int64 of shape "
                "(n, *positions), the class of each position, is expected"
            )
        known = _find_occurring(targets)
        labelled = known[known != self.ignore_index]
        if len(labelled) == 0:
            return f"all positions have the value {self.ignore_index}, which is ignored: some classes are expected"
        strange = labelled[(labelled < 0) | (labelled >= self.num_classes)]
        if len(strange):
            return (
                f"targets hold the value {int(strange[0])}: a class from 0 to {self.num_classes - 1}, or "
                f"{self.ignore_index} for what is ignored, is expected"
            )
        return None

    def draw_examples(self, inputs: Inputs, targets: Tensor, outputs: Tensor) -> bytes:
        """Return a PNG of images beside their true and predicted masks, or of the first cloud from two sides."""
        assert isinstance(inputs, Tensor)
        names = self.class_names or tuple(map(str, range(self.num_classes)))
        values, truth, found = inputs.numpy(), targets.numpy(), outputs.argmax(dim=1).numpy()
        if inputs.ndim == 4:
            from nas.tasks.masks import masks_png

            return masks_png(values, truth, found, names)
        from nas.tasks.clouds import cloud_png

        return cloud_png(values[0], truth[0], found[0], names)

    def facts(self, inputs: InputSpec) -> TaskFacts:
        """Return what cards say; the Hub has no word for the segmentation of clouds."""
        reading = "a logit for each class at each position"
        classes = str(self.num_classes)
        if inputs.is_image:
            outputs = (classes, "height", "width")
            return TaskFacts("image-segmentation", "image", outputs, reading, self.class_names)
        return TaskFacts("other", "point cloud", (classes, "points"), reading, self.class_names)


def find_ignored(task: object) -> int | None:
    """Return the target that a task leaves out of account; None if it has none."""
    return task.ignore_index if isinstance(task, SemanticSegmentation) else None


def _find_occurring(targets: Tensor) -> Tensor:
    """Return the values that occur. Bytes are counted, which takes a fortieth of the time of ``unique``."""
    if targets.dtype == torch.uint8:
        return torch.bincount(targets.flatten()).nonzero().flatten()
    return cast(Tensor, targets.unique())
