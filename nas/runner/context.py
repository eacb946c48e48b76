"""What the stages of a run work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from nas.progress import Progress
from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared
from nas.runner.weights import Weights, weights_of
from nas.runner.workplace import Workers, this_process


@final
@dataclass(frozen=True)
class RunContext:
    """What every stage after the supernet's training needs.

    Args:
        prepared: The study.
        run: Directory of the run.
        weights: Gives candidates their weights.
        workers: Evaluate, train and finish architectures.
        progress: Listens to the run.
    """

    prepared: Prepared
    run: RunDirectory
    weights: Weights
    workers: Workers
    progress: Progress

    @classmethod
    def alone(cls, prepared: Prepared, run: RunDirectory, progress: Progress) -> RunContext:
        """Return the context of a process that does everything by itself."""
        weights = weights_of(prepared, run)
        return cls(prepared, run, weights, this_process(prepared, run, weights), progress)
