"""Counters of energy: what a device tells of the joules that it has used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final, runtime_checkable

from nas.errors import StudyError

_POWERCAP = "/sys/class/powercap"


@runtime_checkable
class EnergyCounter(Protocol):
    """Counts the energy of what runs networks. ``repr`` goes into the study's fingerprint."""

    def joules(self) -> float:
        """Return the joules since some moment that stays the same for as long as the process lives.

        Raises:
            StudyError: there is no counter, or it can't be read.
        """


@final
@dataclass(frozen=True)
class Rapl:
    """The counters of Intel's and AMD's processors (RAPL), of all packages together, as Linux gives them.

    They count whatever the processors do, also for others, so measure on an idle machine. Most systems let the
    administrator alone read them.

    Args:
        folder: Where the system has them.
    """

    folder: str = _POWERCAP

    def joules(self) -> float:
        """Return the sum over packages; it falls back to 0 every few minutes or hours, as the counters do.

        Raises:
            StudyError: there is no counter, or it can't be read.
        """
        files = sorted(Path(self.folder).glob("intel-rapl:[0-9]*/energy_uj"))
        packages = [file for file in files if file.parent.name.count(":") == 1]
        if not packages:
            raise StudyError(
                f"this machine tells no energy: there is no {self.folder}/intel-rapl:0/energy_uj; measure on one that "
                "has it, or give EnergyMj a counter of your own, with a method joules()."
            )
        try:
            return sum(int(file.read_text()) for file in packages) / 1e6
        except (OSError, ValueError) as error:
            raise StudyError(
                f"this machine's energy can't be read ({error}): let the administrator make {packages[0]} readable."
            ) from error
