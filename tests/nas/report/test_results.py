from __future__ import annotations

from pathlib import Path

from nas.report.results import Results


def test_results_survive_being_stored(cli_run: Path, tmp_path: Path) -> None:
    results = Results.read(cli_run / "report.json")
    results.save(tmp_path / "again.json")
    assert Results.read(tmp_path / "again.json") == results
