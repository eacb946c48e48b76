"""Counted objectives: exact, free, known before anything is paid for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from nas.checks import failing_as
from nas.errors import ObjectiveError
from nas.objective import Objective
from nas.objectives import CountedObjective, Counts
from nas.space import FloatArray

TRAINING_PASSES = 3
"""A training step costs as much as so many forward passes: gradients, of inputs and of weights, take two more."""
_THOUSAND = np.array([1_000], dtype=np.int64)
"""Any number that can be halved would do."""
_SOME = Counts(_THOUSAND, _THOUSAND, stored_bytes=4 * _THOUSAND, training_macs=np.array([1e6]))
"""Counts of a network, to see which of them change a quantity."""


def count_costs(quantity: CountedObjective, counts: Counts) -> FloatArray:
    """Return what a quantity is for each architecture, ``(n,)`` float64, checked: the one place that calls ``count``.

    Raises:
        ObjectiveError: it raised, or what it returned is not one number per architecture.
    """
    name, num = quantity.objective.name, len(counts.macs)
    with failing_as(
        ObjectiveError,
        f"count() of {name!r} failed",
        f"return an array of {num} numbers, one per architecture",
    ):
        values = np.asarray(quantity.count(counts))
    if values.shape != (num,) or values.dtype.kind not in "biuf":
        raise ObjectiveError(
            f"count() of {name!r} returned {values.dtype} of shape {values.shape}: numbers of shape ({num},) are "
            "expected, one per architecture."
        )
    return values.astype(np.float64)


def follows_file(quantity: CountedObjective) -> bool:
    """Whether a quantity of an exported file depends on what the file stores, and not on the network alone."""
    packed = replace(_SOME, stored_bytes=_THOUSAND)
    return _differs(quantity, packed)


def follows_passes(quantity: CountedObjective) -> bool:
    """Whether a quantity depends on what passes make of a network, and not on its training alone."""
    smaller = (replace(_SOME, macs=_THOUSAND // 2), replace(_SOME, num_params=_THOUSAND // 2))
    return follows_file(quantity) or any(_differs(quantity, counts) for counts in smaller)


def _differs(quantity: CountedObjective, counts: Counts) -> bool:
    return bool((count_costs(quantity, counts) != count_costs(quantity, _SOME)).any())


@final
@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one forward pass at batch size 1; 1 MAC = 2 FLOPs."""

    objective: Objective = Objective("macs", "", "minimize")

    def count(self, counts: Counts) -> FloatArray:
        """Return ``(n,)`` MACs."""
        return counts.macs.astype(float)


@final
@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one forward pass at batch size 1, as torch's counter defines them."""

    objective: Objective = Objective("flops", "", "minimize")

    def count(self, counts: Counts) -> FloatArray:
        """Return ``(n,)`` FLOPs."""
        return 2.0 * counts.macs.astype(float)


@final
@dataclass(frozen=True)
class NumParams:
    """Numbers in all parameters; batch-norm statistics don't count."""

    objective: Objective = Objective("num_params", "", "minimize")

    def count(self, counts: Counts) -> FloatArray:
        """Return ``(n,)`` parameter counts."""
        return counts.num_params.astype(float)


@final
@dataclass(frozen=True)
class WeightBytes:
    """Bytes of all parameters; of a winner's compressed file, of all numbers that it stores.

    Args:
        bytes_per_param: In the search: 4 for float32, 1 for int8.
    """

    bytes_per_param: int = 4
    objective: Objective = Objective("weight_bytes", "B", "minimize")

    def count(self, counts: Counts) -> FloatArray:
        """Return ``(n,)`` bytes."""
        if counts.stored_bytes is not None:
            return counts.stored_bytes.astype(float)
        return self.bytes_per_param * counts.num_params.astype(float)


@final
@dataclass(frozen=True)
class TrainingMacs:
    """Multiply-accumulates of a candidate's own training: 3 x MACs x training items x epochs.

    Of studies that train every candidate from scratch, for a number of epochs that is known before. Fine-tuning a
    winner, and what passes train, comes on top and isn't counted.
    """

    objective: Objective = Objective("training_macs", "", "minimize")

    def count(self, counts: Counts) -> FloatArray:
        """Return ``(n,)`` MACs.

        Raises:
            ObjectiveError: candidates aren't trained from scratch.
        """
        if counts.training_macs is None:
            raise ObjectiveError(
                f"{self.objective.name!r} is counted where every candidate is trained by itself and to its end: "
                "use it with training=FromScratch()."
            )
        return counts.training_macs
