"""How to train, in numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Literal, final

import torch
from torch import Tensor

from nas.checks import check_integers, check_kind, check_numbers
from nas.errors import StudyError
from nas.training.mixing import Mix


@final
@dataclass(frozen=True)
class Recipe:
    """How to train: AdamW (Loshchilov 2019) with warm-up and cosine decay (torch's OneCycleLR).

    Args:
        epochs: Passes over the training split.
        batch_size: Images per step of the optimizer, over all processes together.
        learning_rate: The highest one.
        weight_decay: Weight decay of AdamW.
        label_smoothing: Smoothing of the labels in the cross-entropy (Szegedy 2016).
        max_grad_norm: Gradients are clipped to this L2 norm.
        augment: A torchvision v2 transform that keeps shape and dtype, or None. It is given images as the
            split holds them, before they are normalised: bytes from image files and torchvision's data
            sets, floats where the data holds floats. Many colour transforms clamp floats to [0, 1], and
            ``split_images`` and ``Digits`` hold floats that are normalised already. Its ``repr`` must
            tell its settings.
        accumulate: Parts that a batch is taken in, one after another; their gradients add up. More
            parts need less memory. Without batch norm and dropout the result is the same; batch norm
            sees one part at a time. It may change while a run directory is used.
        precision: Precision of the forward pass, by torch's autocast; weights stay float32. ``bfloat16`` runs on CPUs
            and GPUs, ``float16`` on GPUs alone, with scaled gradients.
        ema_decay: Train on, but end with an exponential moving average of weights and statistics
            (torch's AveragedModel); None for the last weights. After t steps the decay is at most
            (1 + t) / (10 + t), as in TensorFlow's ExponentialMovingAverage, so that a short training
            forgets the weights it began with.
        halve_on_oom: On a GPU that runs out of memory, double ``accumulate`` and go on; otherwise stop
            with a sentence, as always on a CPU and where ``torchrun`` started several processes. It may
            change while a run directory is used.
        mix: Blends items of a batch, such as ``Mixup()`` or ``CutMix()``, after they are augmented and normalised;
            None for items as they are. Works with every step that takes its batch from
            :func:`nas.training.steps.prepare_batch`, as all of ours do.
        reduced_space: Keep the weights of each ReLU neuron at length 1 and its threshold in an interval, see
            :class:`nas.training.reduced_space.UnitSpheres`. For networks that are trained alone: winners, and
            candidates with ``FromScratch()``.
        share_by_speed: Where several processes train together, give each a share of the batch in proportion to its
            measured speed (weighted dynamic batching, Hong 2021), instead of equal ones. The gradients' sum stays that
            of the batch. It may change while a run directory is used.
        faulty_ranks: Where several processes train together, how many of them may compute nonsense: in every batch so
            many gradients are left out, those that stray most (after Kardam, Damaskinos 2018), which takes at least
            ``3 * faulty_ranks + 1`` processes. A process that is alone is not filtered.
        stochastic_depth: Probability that a step leaves out the last of the network's blocks; it grows linearly
            from block to block (Huang 2016, which uses 0.5). Blocks are those of :class:`nas.supernet.elastic.Repeat`,
            in a supernet and in what is extracted from it. 0 runs them all.

    Raises:
        StudyError: a number is out of range.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    max_grad_norm: float = 2.0
    augment: Callable[[Tensor], Tensor] | None = field(default=None)
    accumulate: int = 1
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    ema_decay: float | None = None
    halve_on_oom: bool = False
    mix: Mix | None = None
    reduced_space: bool = False
    share_by_speed: bool = False
    faulty_ranks: int = 0
    stochastic_depth: float = 0.0

    def __repr__(self) -> str:
        # Runs know their passes by it too, so a setting that older versions lacked is told only where it is used.
        later = ("reduced_space", "share_by_speed", "faulty_ranks", "stochastic_depth")
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        told = {name: value for name, value in told.items() if value or name not in later}
        return f"Recipe({', '.join(f'{name}={value!r}' for name, value in told.items())})"

    def __post_init__(self) -> None:
        check_integers(self, "epochs", "batch_size", "accumulate", "faulty_ranks")
        check_numbers(
            self, "learning_rate", "weight_decay", "label_smoothing", "max_grad_norm", "stochastic_depth"
        )
        if self.ema_decay is not None:
            check_numbers(self, "ema_decay")
        if self.augment is not None:
            wanted = "a transform, made and not a class, such as v2.RandomAffine(5), or None"
            check_kind("Recipe", "augment", self.augment, Callable, wanted)
        if self.mix is not None:
            check_kind("Recipe", "mix", self.mix, Mix, "an instance such as Mixup(0.2), or None,")
        if not isinstance(self.reduced_space, bool):
            raise StudyError(f"Recipe has reduced_space={self.reduced_space!r}: True or False is expected.")
        self._check_ranges()
        self._check_memory_and_precision()
        self._check_ranks()

    def _check_ranges(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise StudyError(
                f"a recipe of {self.epochs} epochs with batches of {self.batch_size}: both must be 1 or more."
            )
        if not self.learning_rate > 0:
            raise StudyError(f"learning_rate is {self.learning_rate}: it must be positive.")
        if not (math.isfinite(self.learning_rate) and 0 <= self.weight_decay < math.inf):
            raise StudyError(
                f"learning_rate is {self.learning_rate} and weight_decay {self.weight_decay}: both must be finite, "
                "and the decay not negative."
            )
        if not (0 <= self.label_smoothing < 1 and self.max_grad_norm > 0):
            raise StudyError(
                f"label_smoothing is {self.label_smoothing} and max_grad_norm {self.max_grad_norm}: the first must "
                "be in [0, 1), the second positive."
            )
        if not 0 <= self.stochastic_depth < 1:
            raise StudyError(
                f"stochastic_depth is {self.stochastic_depth}: a probability in [0, 1) is expected, 0 to leave no "
                "block out."
            )

    def _check_memory_and_precision(self) -> None:
        if not 1 <= self.accumulate <= self.batch_size:
            raise StudyError(
                f"accumulate is {self.accumulate}: a batch of {self.batch_size} can be taken in 1 to "
                f"{self.batch_size} parts."
            )
        if self.precision not in ("float32", "bfloat16", "float16"):
            raise StudyError(
                f"precision is {self.precision!r}: use 'float32', 'bfloat16', or on a GPU 'float16'."
            )
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise StudyError(f"ema_decay is {self.ema_decay}: it must be in [0, 1), or None for no average.")

    def _check_ranks(self) -> None:
        if not isinstance(self.share_by_speed, bool):
            raise StudyError(f"Recipe has share_by_speed={self.share_by_speed!r}: True or False is expected.")
        if self.faulty_ranks < 0:
            raise StudyError(f"faulty_ranks is {self.faulty_ranks}: it must be 0 or more.")
        if self.share_by_speed and self.faulty_ranks:
            raise StudyError(
                "a recipe has share_by_speed=True and faulty_ranks: a slow process's small share strays most and "
                "would always be left out, so use one of them."
            )

    @property
    def fingerprint(self) -> str:
        """What decides what is learned, as text: the rest may change while a run directory is used.

        A setting that older versions lacked isn't told unless it is used, so that their runs can go on.
        """
        told = repr(replace(self, accumulate=1, halve_on_oom=False, share_by_speed=False))
        return re.sub(r" at 0x[0-9a-f]+", "", told).replace(", mix=None", "")

    def check_device(self, device: torch.device) -> None:
        """Check that the precision can be had on a device.

        Raises:
            StudyError: it can't.
        """
        if self.precision == "float16" and device.type == "cpu":
            raise StudyError(
                "the recipe's precision is 'float16' and the device is a CPU: use precision='bfloat16', or a GPU "
                "with --training-device cuda."
            )
