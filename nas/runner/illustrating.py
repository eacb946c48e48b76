"""What a winner does beside its numbers: its quality by class, and a picture of some items of the test split."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch

from nas.checks import failing_as
from nas.errors import EvaluationError
from nas.evaluation import OnnxCandidate
from nas.evaluation.quality.measuring import collect_statistics
from nas.export.names import EXAMPLES, ONNX
from nas.files import file_digest, write_bytes
from nas.inputs import Inputs
from nas.protocols import Splits
from nas.runner.preparation import Prepared
from nas.runner.steps import Step, tell_remade
from nas.space import IntArray
from nas.study import stable_repr
from nas.task import Detailed, Illustrated, Quality

_DRAWN = 4
_MEND = "mend it, and run the same command again; the winners' weights are kept"


@final
@dataclass(frozen=True)
class Details:
    """As it is stored.

    Args:
        parts: The quality by class, or whatever else it is a mean of; None where it has none.
    """

    parts: tuple[float | None, ...]


def illustrate_winner(prepared: Prepared, folder: Path) -> Details:
    """Return a winner's details on the test split and draw ``examples.png`` into its folder, where there are such.

    Of the exported float32 file; done once.
    """
    quality, task = prepared.study.objectives[0], prepared.splits.task
    files = (EXAMPLES,) if isinstance(task, Illustrated) else ()
    inputs = [file_digest(folder / ONNX), stable_repr(quality), prepared.splits.fingerprint]
    step = Step(folder / "finished.details.json", inputs, files)
    stored, faults = step.result(Details), step.faults()
    if stored is not None and not faults:
        return stored
    tell_remade(folder, faults)
    candidate, test = OnnxCandidate(folder / ONNX), prepared.splits.test
    parts: tuple[float | None, ...] = ()
    if isinstance(quality, Quality) and isinstance(quality, Detailed):
        statistics = collect_statistics(quality, candidate, test)
        with failing_as(EvaluationError, f"details() of {quality!r} failed", _MEND):
            parts = tuple(None if np.isnan(value) else float(value) for value in quality.details(statistics))
    if isinstance(task, Illustrated):
        rows = np.sort(np.random.default_rng(0).choice(len(test), min(_DRAWN, len(test)), replace=False))
        outputs = candidate.predict(test.batch(rows))
        with failing_as(EvaluationError, f"draw_examples() of the task {task!r} failed", _MEND):
            picture = task.draw_examples(_as_given(prepared.splits, rows), test.targets[rows], outputs)
        write_bytes(folder / EXAMPLES, picture)
    details = Details(parts)
    step.store(asdict(details))
    return details


def _as_given(splits: Splits, rows: IntArray) -> Inputs:
    """Return test items before they were normalised."""
    inputs = splits.test.rows(rows)
    if isinstance(inputs, tuple) or not splits.mean or splits.test.mean:
        return inputs
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (splits.mean, splits.std))
    return inputs * std + mean
