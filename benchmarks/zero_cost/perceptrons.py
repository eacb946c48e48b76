"""The perceptrons of the digits table, and their scores before training."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from torch import nn

from benchmarks.digits_table import load
from benchmarks.zero_cost.scored import Scored, score_rows
from nas.evaluation.zero_cost import ScoredOn
from nas.tasks import Classification
from search_spaces.digits_mlp import FILE, digits_mlp

ITEMS = 64


def score_perceptrons(count: int, out: Path) -> Scored:
    """Score ``count`` random networks of the table, all where there are fewer, or go on with that."""
    with FILE.open(newline="") as file:
        widths = [tuple(map(int, line["widths"].split("-"))) for line in csv.DictReader(file)]
    digits = load()
    chosen = np.random.default_rng(0).choice(len(digits.train), ITEMS, replace=False)
    on = ScoredOn(digits.train[chosen], digits.train_labels[chosen], Classification(10))
    rows = np.random.default_rng(0).permutation(len(widths))[:count]

    def make(row: int) -> nn.Module:
        return digits_mlp(widths[row])

    params = np.array([sum(p.numel() for p in digits_mlp(sizes).parameters()) for sizes in widths])
    return score_rows(rows, make, on, {"parameters": params.astype(np.float64)}, out)
