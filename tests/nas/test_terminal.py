from __future__ import annotations

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


@pytest.mark.parametrize(("done", "expected"), [(4, ", x ("), (9, "about 10 s left")])
def test_a_status_tells_the_time_left_once_there_is_a_pace(done: int, expected: str) -> None:
    state = {
        "stage": "search",
        "total": 14,
        "done": done,
        "resumed_at": 4,
        "note": "x",
        "began": 0.0,
        "updated": 10.0,
    }
    text = described_status(state)
    assert text.startswith(f"search: {done} of 14")
    assert expected in text


def test_a_finished_run_is_finished() -> None:
    assert described_status({"stage": "done"}) == "finished"
