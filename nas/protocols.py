"""What a user may bring, and the values that pass through. ``nas.testing`` checks each contract.

Costs are minimised values; arrays of them have one row per architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nas.checks import quote
from nas.errors import ObjectiveError
from nas.inputs import Inputs, InputSpec, map_inputs, take_items
from nas.knowledge import Knowledge
from nas.objective import Measurement, Objective, excess_over
from nas.pareto import find_constrained_front
from nas.space import FloatArray, IntArray, SearchSpace
from nas.task import Quality, Task, TaskFacts

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from optuna.samplers import BaseSampler
    from torch import Tensor, nn

    from nas.supernet import Supernet
    from nas.training import Recipe, Step

MAX_SEED = 2**31 - 1
"""Of a study; the smallest seed is 0."""
DEFAULT_DEVICE = "cpu"
"""Where a run trains unless ``--device`` says otherwise."""


_BEYOND = 1e100
"""No limit needs to be larger: this many MACs are beyond any network."""


@dataclass(frozen=True)
class Counts:
    """What is known exactly of ``n`` architectures before anything is paid for.

    Args:
        macs: ``(n,)`` int64, multiply-accumulates of one forward pass at batch size 1.
        num_params: ``(n,)`` int64, numbers in all parameters (buffers don't count).
        stored_bytes: ``(n,)`` int64, of a winner's exported file: bytes of all numbers that it stores. None in the
            search, where there is no file.
        training_macs: ``(n,)`` float64, multiply-accumulates of the training of its own that each of them gets, for
            which int64 ends too early. None where there is no such training, or its length isn't known before.
    """

    macs: IntArray
    num_params: IntArray
    stored_bytes: IntArray | None = None
    training_macs: FloatArray | None = None


@runtime_checkable
class CountedObjective(Protocol):
    """An exact, free cost. Must be a pure function of the counts.

    Of a winner's files it is counted once more, with ``counts.stored_bytes`` of each file. One that doesn't look at
    these is the same for all files of an architecture, and cards say so.
    """

    @property
    def objective(self) -> Objective:
        """Name, unit, direction."""

    def count(self, counts: Counts) -> FloatArray:
        """Return ``(n,)`` values, one per architecture."""


@dataclass(frozen=True)
class Constraint:
    """A limit on a quantity: a hard one where it is counted, a soft one where it is measured.

    A hard limit is checked before an architecture is paid for. Whether a soft one holds is known only afterwards:
    the search aims at what probably meets it, and winners are chosen from what does.

    Args:
        quantity: Counted, whether it is an objective of the study or not; or an objective of the study that is
            measured and minimised.
        at_most: Largest feasible value, in the quantity's unit.

    Raises:
        ObjectiveError: the quantity is neither, or the limit is not finite.
    """

    quantity: CountedObjective | MeasuredObjective | Quality
    at_most: float

    def __post_init__(self) -> None:
        is_class = isinstance(self.quantity, type)
        if is_class or not isinstance(self.quantity, CountedObjective | MeasuredObjective | Quality):
            raise ObjectiveError(
                f"a constraint is on {self.quantity!r}, which is neither counted nor measured: limit a quantity such "
                "as Macs(), or an objective of the study such as LatencyMs()."
            )
        if (
            not isinstance(self.quantity, CountedObjective)
            and self.quantity.objective.direction == "maximize"
        ):
            raise ObjectiveError(
                f"a constraint says what {self.quantity.objective.name!r} is at most, but more of it is better: "
                "limit what is minimised, and read the rest off the front."
            )
        is_number = isinstance(self.at_most, Real) and not isinstance(self.at_most, bool)
        if not is_number or not abs(self.at_most) < _BEYOND:
            raise ObjectiveError(
                f"the constraint on {self.quantity.objective.name!r} is at most {quote(self.at_most)}: give a finite "
                "number."
            )


@dataclass(frozen=True)
class Split:
    """Items and what a network should make of them.

    Args:
        inputs: ``(n, channels, height, width)`` float32, normalised; or uint8, as read, to be normalised
            per batch. Other networks take ``(n, *shape)``, such as ``(n, length)`` int64 token ids, or several of
            these, a tuple in the order of their arguments.
        targets: ``(n, *)``, as the task has them: ``(n,)`` int64 classes, ``(n, height, width)`` masks.
        mean: Per channel, what ``batch`` subtracts; empty where nothing is left to normalise.
        std: Per channel, what ``batch`` divides by after that.
        mapped: Whether ``inputs`` is a file that is read as it is used, too large for the memory.
        ignored: The value in masks of what neither teaches nor counts; None where there is none.
    """

    inputs: Inputs
    targets: Tensor
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    mapped: bool = False
    ignored: int | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, rows: slice | Tensor | IntArray) -> Inputs:
        """Return some rows of ``inputs`` as they are held."""
        return take_items(self.inputs, rows)

    def batch(self, rows: slice | Tensor | IntArray) -> Inputs:
        """Return some rows as the network takes them, on the device that they lie on."""
        return self.normalise(self.rows(rows))

    def normalise(self, inputs: Inputs) -> Inputs:
        """Return rows of ``inputs``, changed or not, as the network takes them."""
        if not self.mean:
            return inputs
        assert not isinstance(inputs, tuple), "what is normalised is one tensor of images"
        pixels = inputs.float()
        mean, std = (pixels.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return pixels.sub(mean).div_(std)

    def batches(self, size: int) -> Iterator[Inputs]:
        """Yield all rows in order, ``size`` at a time, as the network takes them."""
        for start in range(0, len(self), size):
            yield self.batch(slice(start, start + size))

    def sample(self, count: int) -> Inputs:
        """Return up to ``count`` random rows as the network takes them, the same ones every time.

        The first ones would be of one class where the data lie sorted by class, as folders of images do.
        """
        size = min(count, len(self))
        rows = np.random.default_rng(0).choice(len(self), size, replace=False, shuffle=False)
        return self.batch(np.sort(rows))

    def part(self, rows: Tensor) -> Split:
        """Return some rows as a split of their own, in memory."""
        return replace(self, inputs=self.rows(rows), targets=self.targets[rows], mapped=False)

    def to(self, device: torch.device) -> Split:
        """Return the split on ``device``; mapped inputs stay where they are."""
        if self.mapped:
            return replace(self, targets=self.targets.to(device))
        inputs = map_inputs(lambda tensor: tensor.to(device), self.inputs)
        return replace(self, inputs=inputs, targets=self.targets.to(device))


@dataclass(frozen=True)
class Splits:
    """Three disjoint parts of one data set, made once.

    ``train`` teaches weights, ``search`` judges candidates, ``test`` is read once, for the winners.

    Args:
        name: Name of the data set.
        train: First part.
        search: Second part.
        test: Third part.
        task: What the network is for.
        mean: Per channel; subtracted from the raw pixels. Empty where inputs are not normalised.
        std: Per channel; the raw pixels are divided by it after that.
        fingerprint: Changes when any input or target of any part does.
        vocabulary: By token id, for text; empty otherwise.
        input_names: What an exported model calls its inputs, in the order of the network's arguments.
        notes: Clauses for the report, such as how often each class occurs in each part.
        unlabelled: What pre-training learns from, whose targets mean nothing; None for the items of ``train``. Those of
            ``train`` may be among it, those of the other two parts must not.
    """

    name: str
    train: Split
    search: Split
    test: Split
    task: Task
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    vocabulary: tuple[str, ...] = ()
    input_names: tuple[str, ...] = ("images",)
    notes: tuple[str, ...] = ()
    unlabelled: Split | None = None

    @property
    def inputs(self) -> InputSpec:
        """The form of what the network takes."""
        return InputSpec.of_batch(self.train.batch(slice(0, 1)), self.input_names)

    @property
    def facts(self) -> TaskFacts:
        """What cards say of the task."""
        return self.task.facts(self.inputs)


@runtime_checkable
class DataSource(Protocol):
    """Where the items come from. Loading twice must give the same splits."""

    def load(self) -> Splits:
        """Return the splits.

        Raises:
            DataError: the data is missing or not valid; says what to do.
        """


class Candidate(Protocol):
    """A network to be judged: a subnet during the search, an exported file for winners."""

    def predict(self, inputs: Inputs) -> Tensor:
        """Return ``(n, *)`` float32 outputs on the CPU of ``n`` items as the network takes them."""

    @property
    def onnx_model(self) -> bytes:
        """The network as a serialised ONNX model with a dynamic batch dimension."""

    @property
    def inputs(self) -> InputSpec:
        """The form of what the network takes."""


Calibration = Mapping[str, float | str]
"""What a measured objective knows of its device: plain values by name."""


@dataclass(frozen=True)
class Bench:
    """The circumstances of a measurement.

    Args:
        split: Items to judge on.
        thorough: False in the search (short), True for winners (long).
        calibration: What the objective's own ``calibrate`` returned for this study.
    """

    split: Split
    thorough: bool
    calibration: Calibration


@runtime_checkable
class MeasuredObjective(Protocol):
    """A value that costs something to learn."""

    @property
    def objective(self) -> Objective:
        """Name, unit, direction."""

    def calibrate(self) -> Mapping[str, float | str]:
        """Return what must be known of the device before the first measurement; {} if nothing.

        Called once per study and stored with it, so that every process uses the same.
        """

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        """Return one measurement per candidate, in order.

        Raising fails the candidate's trial; so does a value that is not finite.
        """


@runtime_checkable
class OnDevice(Protocol):
    """Of a measured objective that runs networks on a device."""

    def check_device(self, calibration: Calibration) -> None:
        """Refuse a device that is not the calibrated one.

        Raises:
            StudyChangedError: it is another one.
            DeviceUnavailableError: it can't be reached.
        """

    def check_models(self, models: Sequence[bytes]) -> None:
        """Load exported networks on the device and time none, to hear early what it can't run.

        Raises:
            ExportError: it can't run one.
            DeviceUnavailableError: it can't be reached.
        """


AnyObjective = CountedObjective | MeasuredObjective | Quality


@dataclass(frozen=True)
class Prediction:
    """What a surrogate believes, each ``(n, m)`` float64.

    Args:
        mean: Mean of the costs.
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
        soft_limits: Largest feasible cost by name of an objective that is measured.
        knowledge: What is known of architectures from elsewhere, for strategies that can use it.
    """

    space: SearchSpace
    objectives: tuple[Objective, ...]
    count: Callable[[IntArray], Mapping[str, FloatArray]]
    violation: Callable[[IntArray], FloatArray]
    soft_limits: Mapping[str, float] = field(default_factory=dict)
    knowledge: tuple[Knowledge, ...] = ()

    def infeasibility(self, indices: IntArray) -> FloatArray:
        """Return the violation of ``(n, num_choices)`` positions; infinite where a count isn't finite."""
        violation = self.violation(indices)
        known = ~np.isnan(violation)
        for values in self.count(indices).values():
            known &= np.isfinite(values)
        return np.where(known, violation, np.inf)

    def excess(self, costs: FloatArray) -> FloatArray:
        """Return how far ``(..., num_objectives)`` costs exceed the soft limits, relative; 0 is feasible."""
        return excess_over(self.soft_limits, self.objectives, costs)

    def front(self, costs: FloatArray) -> NDArray[np.bool_]:
        """Return which of ``(n, num_objectives)`` costs are on the front of those that meet the soft limits.

        Where none does, on the front of those nearest to that.
        """
        return find_constrained_front(costs, self.excess(costs))


@dataclass(frozen=True)
class Phase:
    """A part of a supernet's training, with an optimizer and a schedule of its own.

    Args:
        name: For people to read.
        recipe: Its epochs and rates.
        step: Makes the phase's step when the phase begins, with the weights that the last one left.
    """

    name: str
    recipe: Recipe
    step: Callable[[], Step]


@runtime_checkable
class SupernetTraining(Protocol):
    """How the weights that all architectures share are learned.

    ``repr`` goes into the study's fingerprint, so a frozen dataclass does well.
    """

    def phases(self, supernet: Supernet, recipe: Recipe, task: Task) -> Sequence[Phase]:
        """Return what to do, in order; nothing if the weights stay as they are.

        Args:
            supernet: What is to be trained; not changed here.
            recipe: The study's. The phases' epochs should add up to its epochs.
            task: What the network is for: its losses.
        """


@dataclass(frozen=True)
class Pretext:
    """What a supernet learns before its training, from items that nobody labelled.

    Args:
        module: The supernet, and the layers that nothing else needs: all of it is trained.
        data: Items; targets where they make some by themselves.
        step: What to do with a batch.
    """

    module: nn.Module
    data: Split
    step: Step


@runtime_checkable
class Pretraining(Protocol):
    """How the weights that all architectures share begin to be learned, without labels.

    ``repr`` goes into the study's fingerprint, so a frozen dataclass does well.
    """

    @property
    def recipe(self) -> Recipe:
        """How long and how fast."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What it reads besides the data: their digests go into the fingerprint too."""

    def pretext(self, supernet: Supernet, data: Split, inputs: InputSpec) -> Pretext:
        """Return what to learn. Random weights of its own layers come from torch's global generator, which is seeded.

        Args:
            supernet: What is to be trained, on the device already; not changed here.
            data: Items whose targets mean nothing.
            inputs: What the network takes.

        Raises:
            StudyError: network or items are not such that it could be learned; says what is expected.
        """


@runtime_checkable
class Strategy(Protocol):
    """Makes the Optuna sampler that proposes architectures.

    ``repr`` goes into the study's fingerprint, so a frozen dataclass does well. The sampler must
    rebuild its state from the study alone: Optuna doesn't restore samplers.
    """

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        """Return a new sampler."""


TRAIN_SUPERNET, CHOOSE_PROXY, SEARCH = "train supernet", "choose proxy subset", "search"
PRETRAIN_SUPERNET, SCORE_UNTRAINED = "pre-train supernet", "score untrained networks"
ADAPT_CANDIDATES, FINISH_WINNERS = "adapt candidates", "finish winners"
CHECK_RANKING, DONE = "check the ranking", "done"
RANDOM_SEARCH, UNIFORM_SCALING = "baseline: random search", "baseline: uniform scaling"
PRUNED_BY_HAND = "baseline: the largest network, pruned and quantized"
"""A run's stages, as listeners and the readers of ``status.json`` know them; after the last one it is done."""


class Progress(Protocol):
    """Listens to a run."""

    def start(self, stage: str, total: int, done: int) -> None:
        """A stage begins, or goes on after ``done`` of ``total`` steps."""

    def advance(self, note: str) -> None:
        """One step is done; ``note`` is a short word on how it stands."""

    def say(self, sentence: str) -> None:
        """Something worth telling that is not a step."""
