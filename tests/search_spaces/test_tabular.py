from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import optuna
import pytest
from fakes import NearestSurrogate
from optuna.samplers import BaseSampler

from nas.choices import choice
from nas.errors import NasError, ObjectiveError, SpaceError
from nas.objective import Objective
from nas.search import OptunaSampler, SurrogateSearch
from nas.search.loop import search
from nas.search.record.trials import complete_trials, indices_of
from nas.space import Condition, SearchSpace
from nas.strategy import Strategy
from search_spaces.tabular import EvaluatedSpace

ACCURACY = Objective("accuracy", "", "maximize")
SIZE = Objective("size", "", "minimize")


def grid(accuracy: list[float], size: list[float], **changes: object) -> EvaluatedSpace:
    """``first`` in {0, 1} and ``second`` in {0, 1, 2}; rows in lexical order."""
    space = SearchSpace((choice("first", 0, 1), choice("second", 0, 1, 2)))
    table = EvaluatedSpace(
        name="grid",
        space=space,
        objectives=(ACCURACY, SIZE),
        positions=np.array(list(itertools.product(range(2), range(3)))),
        values=np.array([accuracy, size]).T,
        counted=frozenset({"size"}),
        spread=np.tile([0.01, 0.0], (6, 1)),
        repeats=3,
    )
    return dataclasses.replace(table, **changes)  # type: ignore[arg-type]


SMALL = grid([0.2, 0.6, 0.5, 0.9, 1.0, 0.4], [1.0, 2.0, 3.0, 4.0, 5.0, 5.0])


def conditional(rows: list[list[int]]) -> EvaluatedSpace:
    """``width1`` matters when ``depth`` is 2: three architectures per width0 and depth 1, nine for 2."""
    widths = [choice(f"width{number}", 4, 8, 16) for number in range(2)]
    space = SearchSpace((choice("depth", 1, 2), *widths), {"width1": ((Condition("depth", (2,)),),)})
    values = np.array([[sum(row), -sum(row)] for row in rows], dtype=np.float64)
    return EvaluatedSpace("mlp", space, (ACCURACY, SIZE), np.array(rows), values)


DEEP = [[0, w, 0] for w in range(3)] + [[1, w, v] for w in range(3) for v in range(3)]


def test_the_true_front_and_its_hypervolume_by_hand() -> None:
    """Scaled costs of the front: (1, 0), (0.5, 0.25), (0.125, 0.75), (0, 1)."""
    assert SMALL.true_front.tolist() == [0, 1, 3, 4]
    assert SMALL.front_hypervolume == pytest.approx(0.5 * 0.75 + (0.5 - 0.125) * 0.25)
    assert SMALL.hypervolume_ratio(np.array([1])) == pytest.approx(0.375 / SMALL.front_hypervolume)
    assert SMALL.hypervolume_ratio(SMALL.true_front) == 1.0
    assert SMALL.hypervolume_ratio(np.array([0, 4])) == 0.0


def test_history_is_the_ratio_of_every_beginning() -> None:
    rows = np.random.default_rng(0).permutation(6)
    expected = [SMALL.hypervolume_ratio(rows[: count + 1]) for count in range(6)]
    assert SMALL.hypervolume_history(rows).tolist() == pytest.approx(expected)
    assert SMALL.hypervolume_history(rows[:0]).shape == (0,)


def test_share_of_the_front_and_distance_to_it() -> None:
    assert SMALL.measure_found_share(np.array([1, 3, 2])) == 0.5
    assert SMALL.measure_found_share(np.array([], dtype=np.int64)) == 0.0
    assert SMALL.igd_plus(SMALL.true_front) == 0.0
    error = Objective("error", "", "minimize")
    positive = dataclasses.replace(SMALL, objectives=(error, SIZE), values=SMALL.values * [-1, 1] + [1.5, 0])
    assert positive.adrs(positive.true_front) == 0.0
    assert positive.adrs(positive.true_front[:1]) > 0.0


def test_equal_points_of_the_front_count_once() -> None:
    table = grid([1.0, 1.0, 0.5, 0.5, 0.2, 0.2], [2.0, 2.0, 1.0, 1.0, 3.0, 3.0])
    assert len(table.true_front) == 2
    assert table.measure_found_share(np.array([1])) == table.measure_found_share(np.array([0])) == 0.5


def test_measurements_say_what_is_known() -> None:
    found = SMALL.evaluate(SMALL.space.architecture({"first": 1, "second": 0}))
    assert (found["accuracy"].value, found["size"].value) == (0.9, 4.0)
    assert (found["accuracy"].spread, found["accuracy"].repeats, found["accuracy"].device) == (
        0.01,
        3,
        "grid",
    )
    assert (found["size"].spread, found["size"].repeats, found["size"].device) == (0.0, 1, "")


def test_counted_columns_are_known_beforehand_and_no_others() -> None:
    indices = np.array([[1, 2], [0, 1]])
    counts = SMALL.problem().count(indices)
    assert {name: values.tolist() for name, values in counts.items()} == {"size": [5.0, 2.0]}
    assert SMALL.hide_counted().problem().count(indices) == {}
    assert SMALL.problem().violation(indices).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("seed", range(3))
def test_an_architecture_is_found_in_any_order_of_rows(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(DEEP))
    table = conditional([DEEP[row] for row in order])
    for row, architecture in enumerate(table.space.from_indices(table.positions)):
        assert table.evaluate(architecture)["accuracy"].value == table.values[row, 0]


def test_a_table_of_more_choices_than_numpy_has_dimensions() -> None:
    names = [f"c{number}" for number in range(70)]
    conditions = {name: ((Condition(before, (1,)),),) for before, name in itertools.pairwise(names)}
    space = SearchSpace(tuple(choice(name, 0, 1) for name in names), conditions)
    rows = np.tril(np.ones((71, 70), dtype=np.int64), -1)
    table = EvaluatedSpace("chain", space, (SIZE,), rows, np.arange(71.0)[:, None])
    assert np.array_equal(table.rows(rows[::-1]), np.arange(71)[::-1])


def test_inactive_choices_make_no_difference() -> None:
    table = conditional(DEEP)
    assert table.rows(np.array([[0, 2, 1], [0, 2, 0], [1, 2, 1]])).tolist() == [2, 2, 10]
    written_otherwise = conditional([[0, w, 2] for w in range(3)] + DEEP[3:])
    assert written_otherwise.rows(np.array([[0, 2, 0]])).tolist() == [2]


@pytest.mark.parametrize(
    "strategy",
    [SurrogateSearch(NearestSurrogate, num_startup=4, batch_size=2), OptunaSampler("NSGAIISampler")],
)
def test_any_strategy_searches_a_table(strategy: Strategy) -> None:
    table = conditional(DEEP)
    problem = table.problem()
    sampler: BaseSampler = strategy.sampler(problem, seed=0)
    study = optuna.create_study(directions=[o.direction for o in table.objectives], sampler=sampler)
    search(study, problem, table.evaluate, evaluations=8, on_trial=lambda trial: None)
    rows = table.rows(indices_of(table.space, complete_trials(study)))
    assert len(set(rows.tolist())) == 8


def test_a_constant_objective_leaves_the_other() -> None:
    table = grid([0.2, 0.6, 0.5, 0.9, 1.0, 0.4], [3.0] * 6)
    assert table.true_front.tolist() == [4]
    assert table.hypervolume_ratio(np.array([4])) == 1.0


def test_a_front_without_hypervolume_is_said() -> None:
    table = grid([0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    with pytest.raises(ObjectiveError, match="compare by measure_found_share"):
        table.hypervolume_ratio(table.true_front)


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        (
            {"positions": SMALL.positions[:5], "values": SMALL.values[:5], "spread": None},
            SpaceError,
            "answers for all",
        ),
        ({"positions": SMALL.positions[[0, 1, 2, 3, 4, 1]]}, SpaceError, "twice, in rows 1 and 5"),
        ({"positions": SMALL.positions + 1}, SpaceError, "has position 3 for choice 'second'"),
        ({"positions": SMALL.positions - 1}, SpaceError, "has position -1 for choice 'first'"),
        ({"positions": SMALL.positions[:, :1]}, SpaceError, r"shape \(6, 1\)"),
        ({"positions": SMALL.positions[:5]}, SpaceError, "5 rows of positions and 6 of values"),
        ({"values": SMALL.values[:, :1]}, ObjectiveError, "values of shape"),
        ({"values": SMALL.values * [1, np.inf]}, ObjectiveError, "finite"),
        ({"spread": np.full((6, 2), np.nan)}, ObjectiveError, "spread nan in row 0 for 'accuracy'"),
        ({"counted": frozenset({"flops"})}, ObjectiveError, "flops"),
        ({"objectives": (SIZE, SIZE)}, ObjectiveError, "different names"),
    ],
)
def test_a_table_that_is_not_one_is_refused(
    changes: dict[str, object], error: type[NasError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        dataclasses.replace(SMALL, **changes)  # type: ignore[arg-type]
