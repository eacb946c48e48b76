"""Runs that measure few latencies, and profiles of a device."""

from __future__ import annotations

from pathlib import Path

import pytest
from boards import NAME, Board, latencies_of, sparing_study
from fakes import Listener, run_in

from nas import LatencyMs
from nas.errors import StudyError


class Told(Listener):
    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        super().say(sentence)
        self.sentences.append(sentence)


def test_a_search_measures_as_few_latencies_as_it_may_and_says_so(tmp_path: Path) -> None:
    board, listener = Board(), Told()
    results = run_in(sparing_study(board), tmp_path / "run", listener)
    latencies = latencies_of(tmp_path / "run")
    measured = [latency for latency in latencies if latency.repeats > 0]
    predicted = [latency for latency in latencies if latency.repeats == 0]
    assert len(latencies) == 16
    told = f"was measured of {len(measured)} of 16 candidates"
    assert told in (tmp_path / "run" / "report.md").read_text()
    assert len(measured) <= 12
    assert predicted
    assert all(p.device.startswith("predicted from ") and p.device.endswith("pi, batch 1") for p in predicted)
    assert all(p.spread > 0 for p in predicted)
    assert f"{len(measured)} of 16 latency_ms were measured, the others predicted" in listener.sentences
    for winner in results.winners:
        assert winner.searched[NAME].repeats > 0
        assert all(variant.values[NAME].repeats > 0 for variant in winner.variants)
    again = board.opened
    run_in(sparing_study(board), tmp_path / "run")
    assert latencies_of(tmp_path / "run") == latencies
    assert board.opened == again


def test_a_search_that_was_killed_spares_the_same_latencies(tmp_path: Path) -> None:
    run_in(sparing_study(Board()), tmp_path / "whole")

    def stop(number: int) -> None:
        if number in (5, 11):
            raise KeyboardInterrupt

    board = Board(before=stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_in(sparing_study(board), tmp_path / "killed")
    run_in(sparing_study(board), tmp_path / "killed")
    assert latencies_of(tmp_path / "killed") == latencies_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"measurements": 9}, "measurements=9: give an integer of 10 or more"),
        ({"measurements": True}, "measurements=True: give an integer"),
        ({"measurements": 12.0}, "measurements=12.0: give an integer"),
        ({"measurements": 12, "profile": "pi.json"}, "profile='pi.json': give the Path"),
        ({"profile": Path("pi.json")}, "measures every candidate"),
    ],
)
def test_settings_that_spare_nothing_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        LatencyMs(**settings)  # type: ignore[arg-type]


def test_a_run_goes_on_with_other_numbers_of_measurements() -> None:
    assert repr(LatencyMs(measurements=40)) == repr(LatencyMs())
