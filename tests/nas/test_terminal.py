from __future__ import annotations

from typing import Any

import pytest

from nas.terminal import Bars, described_status


def test_where_nobody_watches_a_stage_is_about_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        bars.start("search", 150, 0)
        for _ in range(150):
            bars.advance("hypervolume 0.5")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "search: 150 steps"
    assert 8 <= len(lines) <= 13
    assert "search 150/150" in lines[-1]


def test_a_resumed_stage_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        bars.start("search", 20, 18)
        bars.advance("")
        bars.advance("")
        bars.start("done", 0, 0)
    text = capsys.readouterr().out
    assert "going on after 18" in text
    assert "search 20/20" in text


def state(**changes: object) -> dict[str, Any]:
    """Return what a run of 14 evaluations wrote after the ninth."""
    usual = {
        "stage": "search",
        "total": 14,
        "done": 9,
        "resumed_at": 4,
        "note": "x",
        "began": 0.0,
        "updated": 10.0,
    }
    return usual | changes


@pytest.mark.parametrize(("done", "expected"), [(4, ", x ("), (9, "about 10 s left")])
def test_a_status_tells_the_time_left_once_there_is_a_pace(done: int, expected: str) -> None:
    text = described_status(state(done=done), running=True)
    assert text.startswith(f"search: {done} of 14")
    assert expected in text


def test_a_stage_at_its_end_has_no_time_left_and_no_note_is_no_comma() -> None:
    text = described_status(state(done=14, note=""), running=True)
    assert text.startswith("search: 14 of 14 (")
    assert "left" not in text


def test_a_run_that_nobody_carries_on_is_stopped() -> None:
    text = described_status(state(), running=False)
    assert text.endswith("; stopped, and the same command goes on from there")
    assert "left" not in text


@pytest.mark.parametrize("running", [True, False])
def test_a_finished_run_is_finished(running: bool) -> None:
    assert described_status({"stage": "done"}, running) == "finished"
