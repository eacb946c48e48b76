"""Answers for all 1.4e9 architectures of the supernet's space, fitted to those in its table.

    python -m benchmarks.tables.oracle        # how well it predicts what it hasn't seen; finds its front again

A search on a part of a space would need a rule for what isn't there; so it asks a model of that part, as on
NAS-Bench-301 (Siems 2020). MACs are counted. The logarithms of error and latency are ridge regressions on all options
and all pairs of them: unlike the trees of NAS-Bench-301, that isn't what any of the compared searches models with.
What pairs don't tell is left out, the noise of judging above all, so searches that smooth aren't misled, and none can
find the luckiest of a billion architectures.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
import torch
from scipy.stats import kendalltau

from benchmarks.fashion import fashion_network
from benchmarks.tables.supernet import FILE, SupernetTable, read_table
from nas import pareto
from nas.errors import DamagedFileError
from nas.evaluation import NetworkCounter
from nas.evaluation.from_scratch import fresh_network
from nas.files import replacing
from nas.objective import Measurement, Objective
from nas.search.models.proposals import neighbours
from nas.space import Architecture, FloatArray, IntArray, SearchSpace
from search_spaces.answers import Answers, architecture_numbers

FRONT = Path(__file__).with_name("fashion_supernet_front.npz")
MACS = "macs_m"
_PENALTY = 0.03
"""Best of 0.3 to 0.001 for both models by cross-validation; three times more or less costs 0.01 of R2 at most."""
_FOLDS = 10
_AT_ONCE = 20_000

Model = Callable[[IntArray], FloatArray]
"""Values of ``(n, num_choices)`` positions."""


@final
@dataclass(frozen=True, eq=False)
class Oracle(Answers):
    """Answers from a model per objective; a row is an architecture's number in the space.

    Args:
        name: For reports and as the measurements' device.
        space: May be conditional.
        objectives: In the order of the models.
        models: What tells their values.
        front: ``(k, num_choices)`` positions of the true front, as far as it is known.
        ends: Costs that are 0 and 1 when scaled.
        counted: Names of the objectives that a strategy may know beforehand.
    """

    name: str
    space: SearchSpace
    objectives: tuple[Objective, ...]
    models: tuple[Model, ...]
    front: IntArray
    ends: tuple[FloatArray, FloatArray]
    counted: frozenset[str] = frozenset()

    @property
    def num_architectures(self) -> int:
        """All of the space."""
        return self.space.cardinality()

    @property
    def true_front(self) -> IntArray:
        """Rows of the front."""
        return self.rows(self.front)

    @property
    def extent(self) -> tuple[FloatArray, FloatArray]:
        """The ends that were given."""
        return self.ends

    def rows(self, indices: IntArray) -> IntArray:
        """Return the numbers of ``(k, num_choices)`` positions, canonical or not.

        Raises:
            SpaceError: a position is beyond its choice's options.
        """
        return architecture_numbers(self.space, indices)

    def values_at(self, rows: IntArray) -> FloatArray:
        """Return the models' values of ``(k,)`` rows, ``(k, m)``."""
        positions = self.space.combinations(rows)
        return np.stack([model(positions) for model in self.models], axis=1)

    def read_counted(self, rows: IntArray) -> Mapping[str, FloatArray]:
        """Return the counted columns of ``(k,)`` rows."""
        positions = self.space.combinations(rows)
        pairs = zip(self.objectives, self.models, strict=True)
        return {o.name: model(positions) for o, model in pairs if o.name in self.counted}

    def hide_counted(self) -> Oracle:
        """Return the same oracle with nothing known beforehand."""
        return dataclasses.replace(self, counted=frozenset())

    def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
        """Return the models' values as measurements without spread.

        Raises:
            SpaceError: it is not in the space.
        """
        values = self.values_at(self.rows(self.space.indices([architecture])))[0].tolist()
        return {
            o.name: Measurement(value, 0.0, o.unit, "" if o.name in self.counted else self.name, 1)
            for o, value in zip(self.objectives, values, strict=True)
        }


def pair_ridge(space: SearchSpace, positions: IntArray, values: FloatArray, penalty: float) -> Model:
    """Return ridge regression of the logarithm on options and pairs of options, by its kernel.

    Args:
        space: Inactive choices have no option.
        positions: ``(n, num_choices)``.
        values: ``(n,)``, positive.
        penalty: In units of the mean of the kernel's diagonal.
    """
    known, logs = space.encode(space.canonical(positions)), np.log(values)
    kernel, mean = _kernel(known, known, len(space.choices)), logs.mean()
    kernel[np.diag_indices(len(known))] += penalty * np.trace(kernel) / len(known)
    weights = np.linalg.solve(kernel, logs - mean)

    def predict(indices: IntArray) -> FloatArray:
        asked = space.encode(space.canonical(indices))
        found: FloatArray = np.exp(mean + _kernel(asked, known, len(space.choices)) @ weights)
        return found

    return predict


def _kernel(some: FloatArray, others: FloatArray, num_choices: int) -> FloatArray:
    """Return the inner products of all options and pairs of two sets of one-hot encodings."""
    kernel: FloatArray = (1.0 + some @ others.T / num_choices) ** 2
    return kernel


def mac_counter() -> Model:
    """Return what counts millions of MACs in the supernet's space."""
    counter = NetworkCounter(fresh_network(fashion_network, 0), (1, 28, 28))
    return lambda indices: counter.counts(indices).macs / 1e6


def error_model(table: SupernetTable, rows: IntArray | slice = slice(None)) -> Model:
    """Return the error in percent, fitted to some rows of the table."""
    return pair_ridge(table.space, table.positions[rows], 100 * (1 - table.accuracy[rows]), _PENALTY)


def latency_model(table: SupernetTable, rows: IntArray | slice = slice(None)) -> Model:
    """Return the latency in ms, fitted to some of the timed architectures."""
    return pair_ridge(table.space, table.positions[table.timed[rows]], table.latency_ms[rows], _PENALTY)


def predict_held_out(fit: Callable[[IntArray], Model], positions: IntArray) -> FloatArray:
    """Return the values of ``(n, num_choices)`` positions that models fitted to the other folds predict."""
    fold = np.random.default_rng(0).permutation(len(positions)) % _FOLDS
    found = np.zeros(len(positions))
    for number in range(_FOLDS):
        found[fold == number] = fit(np.flatnonzero(fold != number))(positions[fold == number])
    return found


def make_oracle(table: SupernetTable, front: IntArray) -> Oracle:
    """Return the oracle of a table; its front may be any part of the true one."""
    models = (error_model(table), mac_counter(), latency_model(table))
    known = np.stack([model(table.positions) for model in models], axis=1)
    best = (
        np.stack([model(front) for model in models], axis=1).min(axis=0) if len(front) else known.min(axis=0)
    )
    return Oracle(
        name="fashion-supernet",
        space=table.space,
        objectives=(
            Objective("error", "%", "minimize"),
            Objective(MACS, "M", "minimize"),
            Objective("latency_ms", "ms", "minimize"),
        ),
        models=models,
        front=front,
        ends=(np.minimum(best, known.min(axis=0)), known.max(axis=0)),
        counted=frozenset({MACS}),
    )


@functools.cache
def supernet_oracle() -> Oracle:
    """Return the oracle of the committed table and its front.

    Raises:
        DamagedFileError: the front is another table's.
    """
    table = read_table()
    with np.load(FRONT) as file:
        front, of_table = file["positions"].astype(np.int64), str(file["table"])
    if of_table != table.digest:
        raise DamagedFileError(
            f"{FRONT} is the front of another table than {FILE}: make it again with python -m benchmarks.tables.oracle."
        )
    return make_oracle(table, front)


def find_front(oracle: Oracle, start: IntArray, rng: np.random.Generator) -> IntArray:
    """Return positions that no neighbour dominates, nor any of as many children of theirs (Paquete 2004).

    Args:
        oracle: Answers.
        start: ``(n, num_choices)`` to begin with.
        rng: Draws the children: each choice is one parent's, and a few change.
    """
    front = _best(oracle, start, oracle.costs_at(oracle.rows(start)))
    looked_at: set[bytes] = set()
    while True:
        positions, _ = front
        members = [row for row in positions if row.tobytes() not in looked_at]
        looked_at.update(row.tobytes() for row in members)
        near = [neighbours(oracle.space, row) for row in members]
        asked = np.unique(np.concatenate([*near, _children(oracle.space, positions, rng)]), axis=0)
        found = _merge(oracle, front, asked)
        print(f"{len(found[0])} on the front, {len(asked)} asked", flush=True)
        if len(found[0]) == len(positions) and np.array_equal(found[1], front[1]):
            return positions
        front = found


_Costed = tuple[IntArray, FloatArray]


def _merge(oracle: Oracle, front: _Costed, asked: IntArray) -> _Costed:
    parts = np.array_split(asked, -(-len(asked) // _AT_ONCE))
    costs = np.concatenate([oracle.costs_at(oracle.rows(part)) for part in parts])
    return _best(oracle, np.concatenate([front[0], asked]), np.concatenate([front[1], costs]))


def _best(oracle: Oracle, positions: IntArray, costs: FloatArray) -> _Costed:
    kept = pareto.non_dominated(costs)
    return oracle.space.canonical(positions[kept]), costs[kept]


def _children(space: SearchSpace, front: IntArray, rng: np.random.Generator) -> IntArray:
    count = max(len(front), 2_000)
    mothers, fathers = front[rng.integers(len(front), size=(2, count))]
    rows = np.where(rng.random(mothers.shape) < 0.5, mothers, fathers)
    changed = rng.random(rows.shape) < 1.5 / rows.shape[1]
    return space.canonical(np.where(changed, rng.integers(0, space.num_options, size=rows.shape), rows))


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    torch.set_num_threads(1)
    table = read_table()
    for name, fit, positions, values in (
        ("error", partial(error_model, table), table.positions, 100 * (1 - table.accuracy)),
        ("latency", partial(latency_model, table), table.positions[table.timed], table.latency_ms),
    ):
        found = predict_held_out(fit, positions)
        missed = np.sqrt(np.mean((found - values) ** 2))
        print(
            f"{name} of {len(values)} architectures, {_FOLDS} folds: R2 {1 - missed**2 / values.var():.3f}, root mean "
            f"square error {missed:.4f}, Kendall's tau {kendalltau(found, values).statistic:.3f}"
        )
    oracle = make_oracle(table, table.positions[:0])
    front = find_front(oracle, table.positions, np.random.default_rng(0))
    with replacing(FRONT) as part, part.open("wb") as file:
        np.savez_compressed(file, positions=front.astype(np.uint8), table=np.array(table.digest))


if __name__ == "__main__":
    main()
