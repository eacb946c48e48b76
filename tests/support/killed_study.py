"""The tiny study, whose quality kills its own process at the fifth evaluation, once."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fakes import tiny_study

from nas import Accuracy, NumParams, Study
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Candidate

MARKER = "NAS_TEST_KILL"
"""Environment variable: the file whose absence asks for the kill."""


@dataclass
class Deadly:
    """Accuracy until the fifth evaluation."""

    objective: Objective = Accuracy().objective

    def calibrate(self) -> dict[str, float]:
        return {}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        marker = os.environ.get(MARKER)
        if marker is not None:
            with Path(marker).open("a") as stream:
                stream.write("x")
            if Path(marker).stat().st_size == 5:
                os.kill(os.getpid(), signal.SIGKILL)
        return MeasuredQuality(Accuracy()).measure(candidates, bench)


def study() -> Study:
    return dataclasses.replace(tiny_study(), name="killed", objectives=(Deadly(), NumParams()))
