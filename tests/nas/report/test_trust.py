from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas import Accuracy
from nas.objective import Objective
from nas.report.tables import alone_table
from nas.report.trust import Alone, TrustResult

QUALITY = Accuracy().objective


def result(searched: list[float], alone: list[float], num_winners: int = 3) -> TrustResult:
    rows = [
        Alone(f"id{number}", number, number < num_winners, before, after)
        for number, (before, after) in enumerate(zip(searched, alone, strict=True))
    ]
    return TrustResult(how="fine-tuned for 2 epochs", recipe="a recipe", rows=tuple(rows))


def test_a_good_ranking_is_told_without_a_warning() -> None:
    values = np.linspace(0.5, 0.9, 12).tolist()
    (line,) = result(values, values).sentences([QUALITY])
    assert "12 architectures: Kendall's tau 1.00 (95 % 1.00 to 1.00)" in line
    assert "0 of 3 pairs of winners changed places" in line


def test_a_ranking_that_may_mean_nothing_is_warned_of() -> None:
    rng = np.random.default_rng(0)
    lines = result(rng.random(10).tolist(), rng.random(10).tolist()).sentences([QUALITY])
    assert lines[-1].startswith("Warning: tau may be as low as")


def test_a_handful_is_warned_of_though_it_agrees() -> None:
    lines = result([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]).sentences([QUALITY])
    assert lines[-1].startswith("Warning: 4 architectures are too few")


def test_swaps_are_counted_among_winners_alone() -> None:
    found = result([0.9, 0.8, 0.7, 0.6], [0.7, 0.8, 0.9, 0.95])
    assert found.front_swaps() == (3, 3)
    assert result([0.9, 0.8, 0.7, 0.6], [0.9, 0.8, 0.7, 0.95]).front_swaps() == (0, 3)


def test_one_winner_has_no_pair_to_speak_of() -> None:
    line = result([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], num_winners=1).sentences([QUALITY])[0]
    assert "pairs of winners" not in line
    assert line.endswith("1.00).")


def test_a_quality_to_be_minimised_ranks_the_same_way() -> None:
    error = Objective("error", "", "minimize")
    agreement = result([0.1, 0.2, 0.3], [0.2, 0.3, 0.4]).agreement(error)
    assert agreement is not None
    assert agreement.tau.value == 1.0
    assert alone_table(result([0.1, 0.2, 0.3], [0.4, 0.3, 0.3]), error).rows[0][4:] == ["1", "0.4", "3"]


def test_what_is_constant_can_not_be_checked() -> None:
    (line,) = result([0.5, 0.5, 0.5], [0.5, 0.6, 0.7]).sentences([QUALITY])
    assert line.endswith("can't be checked: all of 3 architectures are equally good in the search.")
    (line,) = result([0.5, 0.6, 0.7], [0.5, 0.5, 0.5]).sentences([QUALITY])
    assert line.endswith("are equally good when they are fine-tuned for 2 epochs.")
    (line,) = result([0.5], [0.6]).sentences([QUALITY])
    assert line.endswith("can't be checked: it takes two architectures or more, and there is one.")


def test_it_survives_being_stored(tmp_path: Path) -> None:
    found = result([0.1, 0.2, 0.3], [0.2, 0.3, 0.4])
    found.save(tmp_path / "trust.json")
    assert TrustResult.read(tmp_path / "trust.json") == found


@pytest.mark.parametrize(("scale", "loses"), [(1.0, "1 points"), (100.0, "1")])
def test_what_the_winners_lose_is_told_in_points_where_the_quality_is_a_rate(
    scale: float, loses: str
) -> None:
    macs = Objective("macs", "", "minimize")
    rows = tuple(
        Alone(f"id{number}", number, number == 0, 0.9 * scale, alone * scale, others=(cost,))
        for number, (alone, cost) in enumerate([(0.98, 5.0), (0.99, 5.0), (0.8, 1.0)])
    )
    line = TrustResult(how="fine-tuned for 2 epochs", rows=rows).sentences([QUALITY, macs])[-1]
    assert line.startswith("Regret, of 3 architectures")
    assert f"the best winner loses {loses} (95 %" in line
    assert "of the hypervolume of all." in line


def test_of_an_older_run_no_regret_is_told() -> None:
    found = result([0.1, 0.2, 0.3], [0.2, 0.3, 0.4])
    assert found.regret([QUALITY]) is None
    assert not any("Regret" in line for line in found.sentences([QUALITY]))
