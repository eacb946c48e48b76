from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from fakes import Listener

from nas.errors import RunDirectoryError, StudyChangedError
from nas.runner.directory import RunDirectory, StatusFile, finish, finished, open_record


def test_a_claim_is_kept_and_compared(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.claim({"seed": 0, "space": {"w": [1, 2], "d": [1]}})
    run.claim({"seed": 0, "space": {"w": [1, 2], "d": [1]}})
    with pytest.raises(StudyChangedError, match=r"seed was 0 and is now 1"):
        run.claim({"seed": 1, "space": {"w": [1, 2], "d": [1]}})
    with pytest.raises(StudyChangedError, match=r"'w' was \[1, 2\] and is now \[1, 3\]"):
        run.claim({"seed": 0, "space": {"w": [1, 3], "d": [1]}})


def test_many_differences_make_one_short_sentence(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.claim({"space": {f"c{number}": list(range(100)) for number in range(50)}})
    with pytest.raises(StudyChangedError) as caught:
        run.claim({"space": {f"c{number}": list(range(99)) for number in range(50)}})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_an_aspect_that_is_new_is_a_difference(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.claim({"seed": 0})
    with pytest.raises(StudyChangedError, match="recipe"):
        run.claim({"seed": 0, "recipe": "Recipe(epochs=3)"})


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")

    def fail() -> None:
        with run.locked():
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    with run.locked(), pytest.raises(RunDirectoryError, match="another process"), run.locked():
        pass
    with run.locked():
        pass


def test_a_steps_result_holds_for_its_inputs_alone(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    assert finished(path, ["a"]) is None
    finish(path, ["a"], {"loss": 1.5})
    assert finished(path, ["a"]) == {"loss": 1.5}
    assert finished(path, ["b"]) is None


def test_a_record_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="search hasn't begun"):
        open_record(RunDirectory(tmp_path))


def test_progress_is_passed_on_and_can_be_read_by_others(tmp_path: Path) -> None:
    listener = Listener()
    status = StatusFile(tmp_path / "status.json", listener)
    status.start("search", 10, 4)
    status.advance("hypervolume 0.5")
    status.say("a sentence")
    state = json.loads((tmp_path / "status.json").read_text())
    assert (state["stage"], state["total"], state["done"], state["resumed_at"]) == ("search", 10, 5, 4)
    assert dataclasses.astuple(listener) == (["search"], [("search", "hypervolume 0.5")], ["a sentence"])
