from __future__ import annotations

import logging
from pathlib import Path

import pytest

from nas.service.state import State
from nas.service.store import Run


def test_what_takes_long_to_read_is_read_ahead_of_its_readers(
    service: State, tiny_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (service.settings.runs / "tiny").symlink_to(tiny_run)
    (service.settings.runs / "broken").mkdir()
    (service.settings.runs / "broken" / "run.json").write_text("{")
    known = [
        service.store.add_run(Run(name, "tiny", {}, 1, "cpu", "token", "finished", 0.0))
        for name in ("tiny", "not there", "broken")
    ]
    with caplog.at_level(logging.WARNING):
        service.warm().join()
    assert service.runs.view(known[0])._snapshot.rows
    assert "run.json" in caplog.text
