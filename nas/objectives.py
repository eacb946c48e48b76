"""What an objective must do, what it is told, and limits on it.

Costs are minimised values; arrays of them have one row per architecture. ``nas.testing`` checks each contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from nas.checks import quote
from nas.errors import ObjectiveError
from nas.inputs import Inputs, InputSpec
from nas.objective import BEYOND, Measurement, Objective
from nas.space import FloatArray, IntArray
from nas.task import Quality

if TYPE_CHECKING:
    from torch import Tensor

from nas.splits import Split


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
        if not is_number or not abs(self.at_most) < BEYOND:
            raise ObjectiveError(
                f"the constraint on {self.quantity.objective.name!r} is at most {quote(self.at_most)}: give a finite "
                "number."
            )


class Candidate(Protocol):
    """A network to be evaluated: a subnet during the search, an exported file for winners."""

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
        split: Items to evaluate on.
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
    """What a measured objective has besides, where it runs networks on a device."""

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
