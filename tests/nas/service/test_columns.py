from __future__ import annotations

import numpy as np
import pytest

from nas.choices import Choice
from nas.objective import Measurement, Objective
from nas.service.columns import MAX_DOMINATED, bars_of, columns, genes_of, thin_rows
from nas.service.record import TrialRow
from nas.service.runs import Snapshot
from nas.space import SearchSpace

ACCURACY = Objective("accuracy", "", "maximize")
MACS = Objective("macs", "", "minimize")
SPACE = SearchSpace(
    (Choice("depth", (1, 2)), Choice("width", (4, 8, 16)), Choice("second.kernel", (3, 5))),
)


def row(number: int, accuracy: float, macs: float, **choices: int) -> TrialRow:
    values = {"accuracy": Measurement(accuracy, 0.01, "", "", 1), "macs": Measurement(macs, 0.0, "", "", 1)}
    return TrialRow(number, f"id{number}", values, choices or {"depth": 1, "width": 4, "second.kernel": 3})


def snapshot(rows: list[TrialRow], front: tuple[int, ...]) -> Snapshot:
    return Snapshot(1, (ACCURACY, MACS), tuple(rows), 0, front, (), None, None, space=SPACE)


def test_columns_hold_what_the_rows_hold() -> None:
    sent = columns(snapshot([row(0, 0.9, 10), row(4, 0.8, 20)], (0,)))
    assert sent.number == [0, 4]
    assert sent.id == ["id0", "id4"]
    assert sent.values == [[0.9, 0.8], [10, 20]]
    assert sent.spread == [[0.01, 0.01], [0, 0]]
    assert sent.front == [0]
    assert (sent.total, sent.cursor) == (2, 2)
    assert [o.shown_unit for o in sent.objectives] == ["%", ""]


def test_only_what_is_new_is_sent_again_and_the_front() -> None:
    rows = [row(0, 0.7, 30), row(1, 0.9, 10), row(2, 0.8, 20)]
    assert columns(snapshot(rows, (1,)), after=2).number == [1, 2]
    assert columns(snapshot(rows, ()), after=3).number == []


def test_a_run_that_is_not_prepared_has_empty_columns() -> None:
    sent = columns(Snapshot(0, (), (), 0, (), (), None, None))
    assert sent.number == sent.genes == sent.choices == []


def test_genes_and_bars_show_the_place_of_each_option() -> None:
    rows = [row(0, 0.9, 1, **{"depth": 2, "width": 16, "second.kernel": 3})]
    assert genes_of(SPACE, rows) == ["120"]
    assert bars_of(SPACE, rows[0]) == [1.0, 1.0, 0.0]
    assert genes_of(SPACE, []) == []


def test_thinning_keeps_the_front_and_every_region() -> None:
    random = np.random.default_rng(0)
    values = random.random((20_000, 3))
    front = [5, 19_999]
    kept = thin_rows(values, front, MAX_DOMINATED)
    assert set(front) <= set(kept.tolist())
    assert MAX_DOMINATED / 4 < len(kept) <= MAX_DOMINATED + len(front)
    nearest = [np.abs(values[kept] - point).max(axis=1).min() for point in values[::997]]
    assert max(nearest) < 0.15


@pytest.mark.parametrize("count", [0, 1, 100])
def test_few_rows_are_not_thinned(count: int) -> None:
    values = np.random.default_rng(0).random((count, 2))
    assert len(thin_rows(values, [], MAX_DOMINATED)) == count


def test_equal_rows_are_one_point_in_a_picture() -> None:
    assert len(thin_rows(np.ones((5000, 2)), [], 100)) == 1
