"""Latencies of some architectures of a space on a device, in a file: what a latency model is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from nas.choices import Option
from nas.devices.latency_features import Known
from nas.devices.latency_model import LatencyModel
from nas.errors import StudyError
from nas.objective import Measurement
from nas.space import SearchSpace
from nas.stored import read_stored, write_stored

LEAST_MEASUREMENTS = 10
"""The fewest for which errors of the model are known (``benchmarks/latency_model.py``)."""


@final
@dataclass(frozen=True)
class HeldOutAt:
    """How far predictions were off after so many measurements.

    Args:
        measured: How many the model had learned from.
        error: Mean distance of predicted / measured from 1, each predicted from all others.
        coverage: Share of these inside their 90 % interval.
    """

    measured: int
    error: float
    coverage: float

    def __str__(self) -> str:
        """Return it as a sentence."""
        return (
            f"{self.measured} measured: each is {self.error:.1%} from what the others predict, "
            f"{self.coverage:.0%} lie inside their 90 % interval"
        )


@final
@dataclass(frozen=True)
class LatencyProfile:
    """Measured latencies of a space's architectures.

    Args:
        study: For whose network they are.
        space: As :meth:`nas.space.SearchSpace.describe` tells it.
        device: Identity of the device, and the batch.
        architectures: Those that were measured.
        latencies: Latencies of these, in order.
        held_out: After every fit.
    """

    study: str
    space: Mapping[str, Any]
    device: str
    architectures: tuple[Mapping[str, Option], ...]
    latencies: tuple[Measurement, ...]
    held_out: tuple[HeldOutAt, ...]

    def write(self, path: Path) -> None:
        """Store the profile as JSON."""
        write_stored(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> LatencyProfile:
        """Read a stored profile.

        Raises:
            StudyError: there is no file.
            DamagedFileError: it holds something else.
        """
        if not Path(path).is_file():
            raise StudyError(
                f"there is no latency profile {path}: give the file that 'nas profile-device' wrote."
            )
        return read_stored(Path(path), cls)

    def model(self, space: SearchSpace, known: Known) -> LatencyModel:
        """Return a model that has learned from these latencies.

        Args:
            space: Space of the study.
            known: What is known of any architecture besides its options.

        Raises:
            StudyError: the profile is of another space.
        """
        if self.space != space.describe():
            raise StudyError(
                f"the latency profile is of the network of study {self.study!r}, which has other choices: make one for "
                "this study with 'nas profile-device'."
            )
        model = LatencyModel(space, known)
        indices = space.indices(self.architectures)
        model.fit(indices, np.array([latency.value for latency in self.latencies]))
        return model


def check_spare(measurements: object, profile: object) -> None:
    """Refuse settings of a latency that is measured only sometimes.

    Raises:
        StudyError: too few measurements, or a profile that is no path.
    """
    if measurements is not None and (
        not isinstance(measurements, int)
        or isinstance(measurements, bool)
        or measurements < LEAST_MEASUREMENTS
    ):
        raise StudyError(
            f"LatencyMs has measurements={measurements!r}: give an integer of {LEAST_MEASUREMENTS} or more, fewer "
            "predict too little, or None to measure every candidate."
        )
    if profile is not None and not isinstance(profile, Path):
        raise StudyError(
            f"LatencyMs has profile={profile!r}: give the Path of a file that 'nas profile-device' wrote."
        )
    if profile is not None and measurements is None:
        raise StudyError(
            f"LatencyMs has profile={str(profile)!r} and measures every candidate: say how many measurements the "
            "search may make, such as measurements=40."
        )
