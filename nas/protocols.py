"""What a user may bring, and the values that pass through. ``nas.testing`` checks each contract.

Costs are minimised values; arrays of them have one row per architecture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from nas.errors import ObjectiveError
from nas.objective import Measurement, Objective
from nas.space import FloatArray, IntArray, SearchSpace

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from torch import Tensor


@dataclass(frozen=True)
class Counts:
    """What is known exactly of ``n`` architectures before anything is paid for.

    Args:
        macs: ``(n,)`` int64, multiply-accumulates of one forward pass at batch size 1.
        num_params: ``(n,)`` int64, numbers in all parameters (buffers don't count).
    """

    macs: IntArray
    num_params: IntArray


@runtime_checkable
class CountedObjective(Protocol):
    """An exact, free cost. Must be a pure function of the counts."""

    @property
    def objective(self) -> Objective:
        """Name, unit, direction."""

    def count(self, counts: Counts) -> FloatArray:
        """Return ``(n,)`` values, one per architecture."""


@dataclass(frozen=True)
class Constraint:
    """A hard limit on a counted quantity; checked before an architecture is paid for.

    Args:
        quantity: Need not be one of the study's objectives.
        at_most: Largest feasible value, in the quantity's unit.

    Raises:
        ObjectiveError: the quantity is not counted, or the limit is NaN.
    """

    quantity: CountedObjective
    at_most: float

    def __post_init__(self) -> None:
        if not isinstance(self.quantity, CountedObjective):
            raise ObjectiveError(
                f"a constraint is on {self.quantity!r}, which can't be counted: only counted quantities such as "
                "Macs() or NumParams() can be limited before anything is paid for."
            )
        if math.isnan(self.at_most):
            raise ObjectiveError(
                f"the constraint on {self.quantity.objective.name!r} is at most NaN: give a number."
            )


@dataclass(frozen=True)
class Split:
    """Labelled images.

    Args:
        images: ``(n, channels, height, width)`` float32, normalised.
        labels: ``(n,)`` int64 in ``[0, num_classes)``.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Splits:
    """Three disjoint parts of one data set, made once.

    ``train`` teaches weights, ``search`` judges candidates, ``test`` is read once, for the winners.

    Args:
        name: Of the data set.
        train: First part.
        search: Second part.
        test: Third part.
        num_classes: Labels are smaller than this.
        mean: Per channel; subtracted from the raw pixels.
        std: Per channel; the raw pixels are divided by it after that.
        fingerprint: Changes when any pixel or label of any part does.
    """

    name: str
    train: Split
    search: Split
    test: Split
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


class DataSource(Protocol):
    """Where the images come from. Loading twice must give the same splits."""

    def load(self) -> Splits:
        """Return the splits.

        Raises:
            DataError: the data is missing or not valid; says what to do.
        """


class Candidate(Protocol):
    """A network to be judged: a subnet during the search, an exported file for winners."""

    def predict(self, images: Tensor) -> Tensor:
        """Return ``(n, num_classes)`` float32 logits of ``(n, channels, height, width)`` images."""

    @property
    def onnx_model(self) -> bytes:
        """The network as a serialised ONNX model with a dynamic batch dimension."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""


@dataclass(frozen=True)
class Bench:
    """The circumstances of a measurement.

    Args:
        split: Images to judge on.
        thorough: False in the search (short), True for winners (long).
        calibration: What the objective's own ``calibrate`` returned for this study.
    """

    split: Split
    thorough: bool
    calibration: Mapping[str, float]


@runtime_checkable
class MeasuredObjective(Protocol):
    """A value that costs something to learn."""

    @property
    def objective(self) -> Objective:
        """Name, unit, direction."""

    def calibrate(self) -> dict[str, float]:
        """Return what must be known of the device before the first measurement; {} if nothing.

        Called once per study and stored with it, so that every process uses the same.
        """

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        """Return one measurement per candidate, in order.

        Raising fails the candidate's trial; so does a value that is not finite.
        """


AnyObjective = CountedObjective | MeasuredObjective


@dataclass(frozen=True)
class Prediction:
    """What a surrogate believes, each ``(n, m)`` float64.

    Args:
        mean: Of the costs.
        std: How far the mean may be off, as a standard deviation; not how much a measurement scatters.
    """

    mean: FloatArray
    std: FloatArray

    def sample(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n, m)`` independent normal draws."""
        return self.mean + self.std * rng.standard_normal((count, *self.mean.shape))


class Surrogate(Protocol):
    """Predicts costs of architectures (= performance predictor). A class that takes the space makes one.

    Architectures come as option positions; ``SearchSpace.encode`` makes one-hot encodings of them.
    """

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        """Learn from ``(n, num_choices)`` positions and ``(n, m)`` costs, n >= 2; forgets earlier data.

        All randomness comes from ``rng``: the same data and generator state give the same model.
        Constant columns and equal rows are allowed.
        """

    def predict(self, indices: IntArray) -> Prediction:
        """Predict the costs of ``(n, num_choices)`` positions; ``std`` is positive."""

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n, m)`` joint draws of costs that are plausible.

        Architectures that are uncertain for the same reason move together. A surrogate that doesn't know
        returns ``self.predict(indices).sample(count, rng)``.
        """


MakeSurrogate = Callable[[SearchSpace], Surrogate]
"""Makes an untrained surrogate for a space; a class will do."""


@dataclass(frozen=True)
class Problem:
    """What a search strategy sees of a study.

    Args:
        space: The search space.
        objectives: In the order of a trial's values.
        count: Exact values of the counted objectives by name, of ``(n, num_choices)`` positions.
        violation: ``(n,)`` how far the hard constraints are exceeded, relative; 0 is feasible.
    """

    space: SearchSpace
    objectives: tuple[Objective, ...]
    count: Callable[[IntArray], Mapping[str, FloatArray]]
    violation: Callable[[IntArray], FloatArray]


class Strategy(Protocol):
    """Makes the Optuna sampler that proposes architectures.

    ``repr`` goes into the study's fingerprint, so a frozen dataclass does well. The sampler must
    rebuild its state from the study alone: Optuna doesn't restore samplers.
    """

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        """Return a new sampler."""


class CompressionPass(Protocol):
    """Makes a smaller or faster variant of an exported winner."""

    @property
    def name(self) -> str:
        """Short, for file names and tables: ``int8``."""

    def apply(self, source: Path, target: Path, calibration: Split) -> None:
        """Write a compressed copy of the ONNX file ``source`` to ``target``.

        Args:
            source: A float32 model; not changed.
            target: Written whole or not at all.
            calibration: Training images; a pass may read a part of them.
        """


class Progress(Protocol):
    """Listens to a run."""

    def start(self, stage: str, total: int, done: int) -> None:
        """A stage begins, or goes on after ``done`` of ``total`` steps."""

    def advance(self, note: str) -> None:
        """One step is done; ``note`` is a short word on how it stands."""

    def say(self, sentence: str) -> None:
        """Something worth telling that is not a step."""
