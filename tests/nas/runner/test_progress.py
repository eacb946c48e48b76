from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from fakes import Listener

from nas.runner.progress import StatusFile


def test_progress_is_passed_on_and_can_be_read_by_others(tmp_path: Path) -> None:
    listener = Listener()
    status = StatusFile(tmp_path / "status.json", listener)
    status.start("search", 10, 4)
    status.advance("hypervolume 0.5")
    status.say("a sentence")
    state = json.loads((tmp_path / "status.json").read_text())
    assert (state["stage"], state["total"], state["done"], state["resumed_at"]) == ("search", 10, 5, 4)
    assert dataclasses.astuple(listener) == (["search"], [("search", "hypervolume 0.5")], ["a sentence"])
