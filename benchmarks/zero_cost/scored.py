"""Scores of rows of a table, kept in a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nas.evaluation.zero_cost import SCORES, ScoredOn, score_untrained
from nas.files import read_json, write_json
from nas.space import FloatArray, IntArray


@dataclass(frozen=True)
class Scored:
    """Scores of untrained networks.

    Args:
        rows: ``(n,)`` of the table.
        values: By score, ``(n,)``; NaN for none.
        seconds: Seconds of a core, by score, for a network.
    """

    rows: IntArray
    values: Mapping[str, FloatArray]
    seconds: Mapping[str, float]


def score_rows(
    rows: IntArray,
    make: Callable[[int], nn.Module],
    on: ScoredOn,
    counted: Mapping[str, FloatArray],
    out: Path,
) -> Scored:
    """Score the untrained networks of these rows, those that ``out`` doesn't hold yet.

    Args:
        rows: ``(n,)`` of a table.
        make: Makes the network of a row; its weights are of seed 0.
        on: A batch.
        counted: What is known of all rows of the table, to stand beside the scores, on a logarithmic scale.
        out: Keeps values and seconds by row.
    """
    known = read_json(out) if out.exists() else {}
    stored = time.perf_counter()
    for row in (row for row in rows.tolist() if str(row) not in known):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = make(row)
        values, seconds = {}, {}
        for name in SCORES:
            begin = time.process_time()
            value = score_untrained(name, module, on, seed=0)
            seconds[name] = time.process_time() - begin
            values[name] = value if np.isfinite(value) else None
        known[str(row)] = [values, seconds]
        if time.perf_counter() - stored > 10:
            write_json(out, known)
            stored = time.perf_counter()
    write_json(out, known)
    found = [known[str(row)] for row in rows.tolist()]
    columns = {name: np.array([values[name] for values, _ in found], dtype=np.float64) for name in SCORES}
    return Scored(
        rows,
        {**columns, **{name: np.log(column[rows]) for name, column in counted.items()}},
        {name: float(np.mean([seconds[name] for _, seconds in found])) for name in SCORES},
    )
