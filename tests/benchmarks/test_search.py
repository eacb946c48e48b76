from __future__ import annotations

import dataclasses
import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
from optuna.samplers import BaseSampler

from benchmarks.search import report, results, tables
from benchmarks.search.ledger import Ledger, SpentError, StuckError
from benchmarks.search.methods import METHODS, ours
from benchmarks.search.plot import plot
from benchmarks.search.results import Result, Store
from nas.errors import DataError
from nas.search import LocalSearch
from nas.strategy import Problem
from search_spaces.digits_mlp import digits_mlp_table

TABLE = digits_mlp_table()
DIGITS = tables.load("digits", None)
CHEAP = ["ours", "ours-measured", "smithson", "local", "random", "pls", "nsga2", "pymoo", "tpe"]


RANDOM = results.run("digits", None, "random", 0, 13)


@functools.cache
def run_once(method: str, seed: int) -> Result:
    """Return 26 evaluations, twice as many as a strategy of ours starts with."""
    return results.run("digits", None, method, seed, 26)


def made(**changes: object) -> Result:
    return dataclasses.replace(RANDOM, **changes)  # type: ignore[arg-type]


def test_an_architecture_is_paid_for_once() -> None:
    ledger = Ledger(TABLE, 2)
    first, second, third = TABLE.positions[:3]
    costs = ledger.costs(np.array([first, second, first]))
    assert np.array_equal(costs, TABLE.costs[[0, 1, 0]])
    assert ledger.rows == [0, 1]
    assert np.array_equal(ledger.costs(second[None]), TABLE.costs[[1]])
    with pytest.raises(SpentError):
        ledger.costs(third[None])
    assert ledger.rows == [0, 1]
    assert len(ledger.seconds) == 2


def test_inactive_choices_are_not_paid_for() -> None:
    ledger = Ledger(TABLE, 5)
    ledger.costs(np.array([[0, 3, 0, 0], [0, 3, 5, 0], [0, 3, 5, 2]]))
    assert len(ledger.rows) == 1


def test_asking_the_same_for_ever_is_stopped() -> None:
    with pytest.raises(StuckError):
        Ledger(TABLE, 2).costs(np.repeat(TABLE.positions[:1], 10_000, axis=0))


def test_nobody_can_pay_for_more_than_there_is() -> None:
    assert Ledger(TABLE, 10**6).evaluations == 258


@pytest.mark.parametrize("method", CHEAP)
def test_a_method_spends_what_it_is_given_on_different_architectures(method: str) -> None:
    first, other = run_once(method, 0), run_once(method, 1)
    again = results.run("digits", None, method, 0, 26)
    assert first.stopped == "spent"
    assert len(set(first.rows)) == len(first.rows) == len(first.hypervolume) == len(first.seconds) == 26
    assert first.rows == again.rows
    assert first.rows != other.rows
    assert all(after >= before for before, after in itertools.pairwise(first.hypervolume))
    assert all(after >= before for before, after in itertools.pairwise(first.seconds))


def test_rules_of_the_search_can_be_switched_for_one_run() -> None:
    """On the two objectives of digits neither turns nor exploration apply."""
    ours = run_once("ours", 0).rows
    assert run_once("always", 0).rows != ours
    assert run_once("no-turns", 0).rows == ours


class Noting:
    """A strategy that keeps the problems that it is asked about."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def sampler(self, problem: Problem, seed: int) -> BaseSampler:
        self.problems.append(problem)
        return LocalSearch().sampler(problem, seed)


def test_without_order_options_are_words_and_the_same_is_paid_for() -> None:
    ledgers = [Ledger(TABLE, 30), Ledger(TABLE, 30)]
    for ledger, ordered, kind in zip(ledgers, (True, False), (int, str), strict=True):
        noting = Noting()
        ours(itertools.repeat(noting).__next__, ledger, 0, ordered=ordered)
        options = [option for choice in noting.problems[0].space.choices for option in choice.options]
        assert {type(option) for option in options} == {kind}
    assert ledgers[0].rows == ledgers[1].rows


def test_the_whole_space_can_be_searched() -> None:
    result = results.run("digits", None, "local", 0, 258)
    assert result.hypervolume[-1] == 1.0
    assert TABLE.measure_found_share(np.array(result.rows)) == 1.0


def test_results_are_read_as_they_were_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for result in (made(seed=1), made(evaluations=3), made()):
        store.add(result)
    assert store.read(DIGITS, "digits", "random") == [made(), made(seed=1)]
    assert store.read(DIGITS, "digits", "pls") == []


def test_a_line_that_a_kill_cut_off_is_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, result = Store(tmp_path), made()
    store.add(result)
    path = tmp_path / "digits" / "random.jsonl"
    path.write_text(path.read_text() + path.read_text()[:50])
    store.add(dataclasses.replace(result, seed=7))
    assert [r.seed for r in store.read(DIGITS, "digits", "random")] == [0, 7]
    assert "random.jsonl:2" in capsys.readouterr().out


def test_results_on_another_table_don_t_count(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(made(digest="of-an-older-table"))
    assert store.read(DIGITS, "digits", "random") == []


def test_what_a_stored_result_serves_for() -> None:
    assert results.serves(made(), 13)
    assert not results.serves(made(), 14)
    assert results.serves(made(stopped="ended"), 14)
    ours = made(method="ours", code=results.CODE_DIGEST)
    assert results.serves(ours, 13)
    assert not results.serves(dataclasses.replace(ours, code="older"), 13)


def test_the_report_says_what_was_run_and_by_which_code() -> None:
    short = [made(method="gp", seed=seed) for seed in range(3)]
    text = report.tables(DIGITS, [short, [made(method="ours", code="older")], []])
    lines = [line for line in text.splitlines() if line.startswith("| Optuna GPSampler")]
    assert len(lines) == 3
    assert lines[0].startswith(f"| Optuna GPSampler | 3 | {short[0].hypervolume[12]:.3f} (")
    assert lines[0].count("| –") == 4
    assert lines[0].count("| >13") == 1
    assert "ours \\*" in text
    assert "another state of our code" in text
    assert "ADRS" in text


def test_a_method_that_stopped_by_itself_stays_where_it_is() -> None:
    ended = made(stopped="ended")
    assert report.quartiles([ended], report.ratio, 78) == report.quartiles([ended], report.ratio, 13)
    assert report.quartiles([made()], report.ratio, 78) == "–"


def test_evaluations_to_a_ratio_by_hand() -> None:
    runs = [made(hypervolume=(0.5, 0.96, 1.0)), made(hypervolume=(0.96,) * 3), made(hypervolume=(0.1,) * 3)]
    assert report.evaluations_to(runs, 0.95) == 2
    assert report.evaluations_to(runs, 0.99) == np.inf


@pytest.mark.draws
def test_the_plot_is_drawn_for_any_methods(tmp_path: Path) -> None:
    plot(tmp_path / "search.png", {"digits": [[made(), made(seed=1)], []]}, {"digits": DIGITS})
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")


def test_missing_data_is_said(tmp_path: Path) -> None:
    for data in (None, tmp_path):
        with pytest.raises(DataError, match="NAS_DATA"):
            tables.load("nb201-2", data)


def test_every_method_has_a_title_of_its_own() -> None:
    assert len({method.title for method in METHODS.values()}) == len(METHODS)
