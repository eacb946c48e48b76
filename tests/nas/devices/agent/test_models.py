from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from nas.devices.agent.models import ModelFolder
from nas.devices.agent.refusal import Refusal


def test_models_used_least_recently_make_room(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path / "models", 250)
    contents_ = [bytes([number]) * 100 for number in range(3)]
    digests = [hashlib.sha256(content).hexdigest() for content in contents_]
    for number, (digest, content) in enumerate(zip(digests, contents_, strict=True)):
        if number == 2:
            for digest_, when in ((digests[0], 2_000), (digests[1], 1_000)):
                os.utime(folder.path(digest_), (when, when))
        (tmp_path / "sent").write_bytes(content)
        with (tmp_path / "sent").open("rb") as stream:
            folder.store(digest, stream, len(content))
    assert folder.missing([*digests, digests[1]]) == [digests[1]]


def test_leftovers_of_an_agent_that_was_killed_are_cleared(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "abc.part").write_bytes(b"half")
    ModelFolder(tmp_path / "models", 1)
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.parametrize("name", ["../x", "a" * 63, "A" * 64, "a" * 64 + "\n", ""])
def test_nothing_but_a_digest_names_a_model(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refusal, match="named by its SHA-256"):
        ModelFolder(tmp_path / "models", 1).path(name)
