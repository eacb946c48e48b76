"""Which classes a candidate takes for which, of a whole split."""

from __future__ import annotations

import numpy as np

from nas.evaluation.quality.measuring import rows_at_a_time
from nas.objectives import Candidate
from nas.space import IntArray
from nas.splits import Split
from nas.task import Confusable


def count_confusions(task: Confusable, candidate: Candidate, split: Split) -> IntArray:
    """Return ``(k, k)``: how many items of the class of a row a candidate takes for that of a column."""
    size = rows_at_a_time(split)
    starts = range(0, len(split), size)
    found = [
        task.confusion(candidate.predict(split.batch(rows)), split.targets[rows].cpu())
        for rows in (slice(start, start + size) for start in starts)
    ]
    total: IntArray = np.sum([counts.numpy() for counts in found], axis=0)
    return total
