from __future__ import annotations

from pathlib import Path

from nas.service.runs import Runs
from nas.service.store import Run


def test_runs_are_looked_at_ahead_of_their_readers(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny").symlink_to(tiny_run)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    known = [
        Run(name, "tiny", {}, 1, "cpu", "token", "finished", 0.0) for name in ("broken", "not there", "tiny")
    ]
    runs = Runs(tmp_path)
    runs.warm(known).join()
    assert runs.view(known[-1])._snapshot.rows
    runs.close()
