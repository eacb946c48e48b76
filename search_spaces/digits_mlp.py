"""Perceptrons for handwritten digits, all 258 of them trained: a small table with a true front.

The file beside this one holds every architecture's accuracy for ten seeds; ``python -m
benchmarks.digits_table`` makes it again. **It is for comparing searches, not a claim about accuracy**:
the seeds share one 70/30 split of the digits (Alpaydin 1998), and the accuracy is that of the very images
on which a search would choose.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from nas.choices import Option, choice
from nas.errors import DamagedFileError
from nas.objective import Objective
from nas.space import Condition, IntArray, SearchSpace
from search_spaces.tabular import EvaluatedSpace

FILE = Path(__file__).with_name("digits_mlp.csv")
WIDTHS = (4, 8, 16, 32, 64, 128)
MAX_DEPTH = 3
NUM_PIXELS, NUM_CLASSES = 64, 10

ERROR = Objective("error", "", "minimize")
COST = Objective("cost", "", "minimize")


def digits_mlp_space() -> SearchSpace:
    """Return the space: one to three hidden layers, each with its own width of 4 to 128."""
    widths = tuple(choice(f"layer{number}.width", *WIDTHS) for number in range(1, MAX_DEPTH + 1))
    depths = tuple(range(1, MAX_DEPTH + 1))
    conditions = {
        width.name: ((Condition("depth", depths[number:]),),) for number, width in enumerate(widths) if number
    }
    return SearchSpace((choice("depth", *depths), *widths), conditions)


def digits_mlp(widths: Sequence[int]) -> nn.Sequential:
    """Return the network: linear layers with ReLU in between, ``(n, 64)`` pixels to ``(n, 10)`` logits.

    Kaiming-uniform weights and zero biases: from torch's default, three hidden layers learn too slowly for 30
    epochs of plain SGD, and depth would never pay.
    """
    sizes = (NUM_PIXELS, *widths, NUM_CLASSES)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        linear = nn.Linear(inputs, outputs)
        nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def implementation_cost(widths: Sequence[int]) -> int:
    """Return 139 × (weights + biases) + 1 × multiplications: energy, where reading a number costs 139.

    The model of Smithson 2016: a 32-bit multiplication costs 1, and every parameter is read from memory once.
    """
    sizes = (NUM_PIXELS, *widths, NUM_CLASSES)
    weights = sum(inputs * outputs for inputs, outputs in itertools.pairwise(sizes))
    biases = sum(sizes[1:])
    return 139 * (weights + biases) + weights


def digits_mlp_table(path: Path = FILE) -> EvaluatedSpace:
    """Return the table: error (learned, with its spread over the seeds) and cost (counted).

    ``error`` is 1 - accuracy, a mean over the seeds; its spread is that mean's standard error.

    Raises:
        DamagedFileError: the file is not what ``benchmarks.digits_table`` writes.
    """
    space = digits_mlp_space()
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    try:
        widths = [tuple(int(width) for width in line["widths"].split("-")) for line in lines]
        seeds = [name for name in lines[0] if name.startswith("accuracy_seed")]
        if len(seeds) < 2:
            raise ValueError("fewer than two columns accuracy_seed*")
        errors = 1.0 - np.array([[float(line[seed]) for seed in seeds] for line in lines])
        positions = np.concatenate([_positions(space, row) for row in widths])
        costs = np.array([implementation_cost(row) for row in widths], dtype=np.float64)
        spread = errors.std(axis=1, ddof=1) / np.sqrt(len(seeds))
        return EvaluatedSpace(
            name="digits-mlp",
            space=space,
            objectives=(ERROR, COST),
            positions=positions,
            values=np.column_stack([errors.mean(axis=1), costs]),
            counted=frozenset({COST.name}),
            spread=np.column_stack([spread, np.zeros_like(costs)]),
            repeats=len(seeds),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DamagedFileError(
            f"{path} does not hold the 258 networks ({type(error).__name__}: {error}): make it again with "
            "'python -m benchmarks.digits_table'."
        ) from error


def _positions(space: SearchSpace, widths: Sequence[int]) -> IntArray:
    """Return ``(1, 4)`` positions of a network; layers that it doesn't have are at their first option."""
    padded = (*widths, *(WIDTHS[0],) * (MAX_DEPTH - len(widths)))
    options: dict[str, Option] = {
        f"layer{number}.width": width for number, width in enumerate(padded, start=1)
    }
    return space.indices([{"depth": len(widths), **options}])
