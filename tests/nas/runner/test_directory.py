from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import RunDirectoryError, StudyChangedError
from nas.runner.directory import RunDirectory, open_record


def described(**aspects: object) -> dict[str, object]:
    """Return what a run is made with."""
    return {"study": "mine", "space": {}, "values": [], "data": "digits"} | aspects


def test_a_claim_is_kept_and_compared(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.claim(described(seed=0, space={"w": [1, 2], "d": [1]}))
    run.claim(described(seed=0, space={"w": [1, 2], "d": [1]}))
    with pytest.raises(StudyChangedError, match=r"seed was 0 and is now 1"):
        run.claim(described(seed=1, space={"w": [1, 2], "d": [1]}))
    with pytest.raises(StudyChangedError, match=r"'w' was \[1, 2\] and is now \[1, 3\]"):
        run.claim(described(seed=0, space={"w": [1, 3], "d": [1]}))


def test_many_differences_make_one_short_sentence(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.claim(described(space={f"c{number}": list(range(100)) for number in range(50)}))
    with pytest.raises(StudyChangedError) as caught:
        run.claim(described(space={f"c{number}": list(range(99)) for number in range(50)}))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_an_aspect_that_is_new_is_a_difference(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.claim(described(seed=0))
    with pytest.raises(StudyChangedError, match="recipe"):
        run.claim(described(seed=0, recipe="Recipe(epochs=3)"))


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")

    def fail() -> None:
        with run.lock():
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    with run.lock(), pytest.raises(RunDirectoryError, match="another process"), run.lock():
        pass
    with run.lock():
        pass


def test_a_record_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="search hasn't begun"):
        open_record(RunDirectory(tmp_path))
