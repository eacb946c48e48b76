from __future__ import annotations

from pathlib import Path

import pytest

from nas.devices.bundle import write_bundle
from nas.errors import OutputError


def test_the_same_agent_gives_the_same_bundle(tmp_path: Path) -> None:
    for name in ("one.pyz", "two.pyz"):
        write_bundle(tmp_path / name)
    assert (tmp_path / "one.pyz").read_bytes() == (tmp_path / "two.pyz").read_bytes()
    with pytest.raises(OutputError, match="can't be written to"):
        write_bundle(tmp_path / "none" / "agent.pyz")
