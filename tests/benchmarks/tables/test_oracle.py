from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks.search import tables
from benchmarks.search.ledger import Ledger, SpentError
from benchmarks.tables.oracle import Oracle, find_front, pair_ridge, predict_held_out, supernet_oracle
from benchmarks.tables.supernet import read_table
from nas import pareto
from nas.choices import choice
from nas.errors import SpaceError
from nas.objective import Objective
from nas.space import Condition, FloatArray, IntArray, SearchSpace

ALL = np.array([*itertools.product(range(3), repeat=3)])
SPACE = SearchSpace(tuple(choice(name, 1, 2, 3) for name in "abc"))
CONDITIONAL = SearchSpace(SPACE.choices, {"c": ((Condition("a", (2, 3)),),)})


def of_pairs(indices: IntArray) -> FloatArray:
    a, b, c = indices.T
    return np.exp(0.3 * a + 0.2 * a * b - 0.4 * (b == 1) * (c == 2) + 0.1 * c)


def small_oracle(space: SearchSpace = CONDITIONAL) -> Oracle:
    """Return one whose error falls with every option and whose size grows."""
    return Oracle(
        name="small",
        space=space,
        objectives=(Objective("error", "%", "minimize"), Objective("size", "", "minimize")),
        models=(
            lambda rows: 9.0 - space.canonical(rows).sum(axis=1),
            lambda rows: space.canonical(rows).sum(axis=1),
        ),
        front=np.array([[0, 0, 0], [0, 1, 0], [0, 2, 0], [2, 2, 2]]),
        ends=(np.array([0.0, 0.0]), np.array([10.0, 10.0])),
        counted=frozenset({"size"}),
    )


def test_a_function_of_pairs_is_learned_from_a_part() -> None:
    part = np.random.default_rng(0).permutation(27)[:24]
    model = pair_ridge(SPACE, ALL[part], of_pairs(ALL[part]), 1e-10)
    assert np.allclose(model(ALL), of_pairs(ALL), rtol=1e-3)


def test_what_is_held_out_is_not_fitted() -> None:
    fitted: list[int] = []

    def fit(rows: IntArray) -> object:
        fitted.append(len(rows))
        return lambda positions: np.array(
            [tuple(row) in {tuple(r) for r in ALL[rows]} for row in positions], float
        )

    assert not predict_held_out(fit, ALL).any()  # type: ignore[arg-type]
    assert sum(27 - count for count in fitted) == 27


def test_an_oracle_is_asked_as_a_table_is() -> None:
    oracle = small_oracle()
    assert oracle.num_architectures == 21
    same = oracle.rows(np.array([[0, 1, 0], [0, 1, 2]]))
    assert same[0] == same[1]
    ledger = Ledger(oracle, 2)
    assert ledger.costs(np.array([[0, 1, 2], [0, 1, 0], [2, 2, 2]])).tolist() == [[8, 1], [8, 1], [3, 6]]
    assert len(ledger.rows) == 2
    with pytest.raises(SpentError):
        ledger.costs(np.array([[1, 1, 1]]))
    architecture = oracle.space.from_indices(np.array([[2, 2, 2]]))[0]
    assert {n: (m.value, m.device) for n, m in oracle.evaluate(architecture).items()} == {
        "error": (3.0, "small"),
        "size": (6.0, ""),
    }
    assert oracle.read_counted(same)["size"].tolist() == [1, 1]
    assert not oracle.hide_counted().read_counted(same)
    with pytest.raises(SpaceError):
        oracle.rows(np.array([[0, 3, 0]]))


def test_its_front_is_judged_as_a_tables() -> None:
    oracle = small_oracle()
    assert oracle.hypervolume_ratio(oracle.true_front) == 1
    history = oracle.hypervolume_history(oracle.true_front[::-1])
    assert history[-1] == pytest.approx(1)
    assert (np.diff(history) > 0).all()


def test_a_front_is_found_from_one_end() -> None:
    oracle = small_oracle(SPACE)
    found = find_front(oracle, np.array([[0, 0, 0]]), np.random.default_rng(0))
    assert sorted(found.sum(axis=1).tolist()) == list(range(7))


def test_the_committed_oracle_agrees_with_its_table() -> None:
    table, oracle = read_table(), supernet_oracle()
    rows = oracle.rows(table.positions)
    values = oracle.values_at(rows)
    assert np.allclose(values[:, 1] * 1e6, table.macs)
    assert np.corrcoef(values[:, 0], 1 - table.accuracy)[0, 1] > 0.95
    assert np.corrcoef(values[table.timed, 2], table.latency_ms)[0, 1] > 0.9
    front = oracle.costs_at(oracle.true_front)
    assert pareto.non_dominated(front).all()
    assert 0.5 < oracle.hypervolume_ratio(rows) <= 1
    assert tables.load("fashion-supernet", None).table is oracle
