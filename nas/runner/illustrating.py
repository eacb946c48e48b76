"""What a winner does beside its numbers: its quality by class, and a picture of some items of the test split."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import final

import numpy as np
import torch

from nas.checks import failing_as
from nas.errors import EvaluationError
from nas.evaluation import OnnxCandidate
from nas.evaluation.quality.confusion import count_confusions
from nas.evaluation.quality.measuring import collect_statistics, outputs_for
from nas.export.names import CONFUSION, EXAMPLES, ONNX
from nas.files import file_digest, write_bytes
from nas.inputs import Inputs
from nas.report.confusion import confusion_png
from nas.runner.preparation import Prepared
from nas.runner.steps import CachedStep, tell_remade
from nas.space import IntArray
from nas.splits import Splits
from nas.study import stable_repr
from nas.task import Confusable, Detailed, Illustrated, Quality

_DRAWN = 4
"""Items beside each other in a picture, each large enough to be seen on a page."""
_MEND = "mend it, and run the same command again; the winners' weights are kept"


@final
@dataclass(frozen=True)
class Details:
    """As it is stored.

    Args:
        parts: The quality by class, or whatever else it is a mean of; None where it has none.
        confusions: By split, how many items of the class of a row are taken for that of a column.
    """

    parts: tuple[float | None, ...]
    confusions: dict[str, list[list[int]]] = field(default_factory=dict)


def illustrate_winner(prepared: Prepared, folder: Path) -> Details:
    """Return a winner's details on the test split and draw pictures of it into its folder, where there are such.

    Of the exported float32 file; done once.
    """
    quality, task = prepared.study.objectives[0], prepared.splits.task
    drawn = {EXAMPLES: isinstance(task, Illustrated), CONFUSION: isinstance(task, Confusable)}
    files = tuple(name for name, is_drawn in drawn.items() if is_drawn)
    inputs = [file_digest(folder / ONNX), stable_repr(quality), prepared.splits.fingerprint, files]
    step = CachedStep(folder / "finished.details.json", inputs, files)
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
        outputs = outputs_for(quality, candidate, test.batch(rows))
        with failing_as(EvaluationError, f"draw_examples() of the task {task!r} failed", _MEND):
            picture = task.draw_examples(
                _undo_normalisation(prepared.splits, rows), test.targets[rows], outputs
            )
        write_bytes(folder / EXAMPLES, picture)
    details = Details(parts, _confusions(prepared, candidate))
    if details.confusions:
        names = prepared.splits.facts.names
        write_bytes(folder / CONFUSION, confusion_png(details.confusions, names))
    step.store(asdict(details))
    return details


def _confusions(prepared: Prepared, candidate: OnnxCandidate) -> dict[str, list[list[int]]]:
    """Return which classes are taken for which, on the search and test splits; nothing where an answer is no class."""
    splits = prepared.splits
    if not isinstance(splits.task, Confusable):
        return {}
    with failing_as(EvaluationError, f"confusion() of the task {splits.task!r} failed", _MEND):
        return {
            name: count_confusions(splits.task, candidate, split).tolist()
            for name, split in (("search", splits.search), ("test", splits.test))
        }


def _undo_normalisation(splits: Splits, rows: IntArray) -> Inputs:
    """Return test items before they were normalised."""
    inputs = splits.test.rows(rows)
    if isinstance(inputs, tuple) or not splits.mean or splits.test.mean:
        return inputs
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (splits.mean, splits.std))
    return inputs * std + mean
