from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nas.export.card_text import card_text
from nas.objective import Measurement, Objective
from nas.report.figures import front_png, hypervolume_png
from nas.report.results import FILE_BYTES, Results
from nas.report.tables import Table, format_value, front_table, trust_table, winners_table, with_spread
from nas.report.text import report_markdown

ACCURACY = Objective("accuracy", "", "maximize")
LATENCY = Objective("latency_ms", "ms", "minimize")
MACS = Objective("macs", "", "minimize")


@pytest.mark.parametrize(
    ("value", "objective", "expected"),
    [
        (0.9734, ACCURACY, "97.34 %"),
        (1.0, ACCURACY, "100.00 %"),
        (0.0, ACCURACY, "0.00 %"),
        (1234567.0, MACS, "1,234,567"),
        (12.0, MACS, "12"),
        (0.01234, LATENCY, "0.01234 ms"),
        (2048.0, FILE_BYTES, "2.0 KiB"),
    ],
)
def test_values_are_shown_as_people_read_them(value: float, objective: Objective, expected: str) -> None:
    assert format_value(value, objective) == expected


def test_a_value_never_loses_its_unit() -> None:
    assert "ms" in format_value(1500.0, LATENCY)


@pytest.mark.parametrize(
    ("value", "spread", "objective", "expected"),
    [
        (0.9734, 0.0085, ACCURACY, "97.34 ± 0.85 %"),
        (0.5, 0.01, LATENCY, "0.5 ± 0.01 ms"),
        (0.5, 0.0, LATENCY, "0.5 ms"),
        (100.0, 2.0, MACS, "100 ± 2"),
    ],
)
def test_a_spread_has_the_unit_of_its_value(
    value: float, spread: float, objective: Objective, expected: str
) -> None:
    assert with_spread(Measurement(value, spread, objective.unit, "", 9), objective) == expected


def test_a_spread_in_bytes_is_shown_in_the_values_unit() -> None:
    memory = Objective("peak_bytes", "B", "minimize")
    assert with_spread(Measurement(10240.0, 1024.0, "B", "", 9), memory) == "10.0 ± 1 KiB"


def test_the_front_is_listed_best_quality_first() -> None:
    trials = [(0, "a", [0.5, 1.0]), (1, "b", [0.9, 3.0]), (2, "c", [0.7, 2.0])]
    rows = front_table((ACCURACY, LATENCY), trials).rows
    assert [row[1] for row in rows] == ["b", "c", "a"]


def test_markdown_tables_are_rectangular(cli_run: Path) -> None:
    results = Results.read(cli_run / "report.json")
    for table in (winners_table(results), trust_table(results), Table(["a", "b"], [["1", "2"]])):
        lines = table.markdown().splitlines()
        assert len({line.count(" | ") for line in lines}) == 1
        assert len(lines) == len(table.rows) + 2


@pytest.mark.draws
def test_report_and_figures_are_made_of_the_stored_results_alone(cli_run: Path) -> None:
    results = Results.read(cli_run / "report.json")
    assert report_markdown(results) == (cli_run / "report.md").read_text()
    assert front_png(results) == (cli_run / "front.png").read_bytes()
    assert hypervolume_png(results) == (cli_run / "hypervolume.png").read_bytes()
    marked = front_png(results, marked=results.winners[0].id)
    assert marked == (cli_run / "winners" / results.winners[0].id / "front.png").read_bytes()


def test_the_search_is_compared_with_the_file_that_it_evaluated(cli_run: Path) -> None:
    results = Results.read(cli_run / "report.json")
    winner = results.winners[0]
    plain, values = winner.variants[0], winner.variants[0].values
    name = results.quality.name
    packed = replace(plain, name="packed", values={**values, name: replace(values[name], value=0.125)})
    results = replace(results, winners=(replace(winner, variants=(plain, packed)),))
    assert trust_table(results).rows[0][-1] == format_value(values[name].value, results.quality)
    results = replace(results, facts={**results.facts, "searched_variant": "packed"})
    assert trust_table(results).rows[0][-1] == f"{format_value(0.125, results.quality)} (packed)"
    card = card_text(results, results.winners[0]).replace("\\", "")
    assert f"| exported as packed, test split | {format_value(0.125, results.quality)} |" in card
