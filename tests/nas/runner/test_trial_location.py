"""Where the trials of a run lie."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nas.errors import StorageError, StudyChangedError
from nas.runner import trial_location
from nas.runner.trial_location import TrialLocation

SHOWN = "postgresql+psycopg://me@db.example/nas"
GIVEN = "postgresql+psycopg://me:s3cret@db.example/nas"
OTHER = "postgresql+psycopg://me@elsewhere.example/nas"


@pytest.fixture(autouse=True)
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep which servers are tried, and try none."""
    urls: list[str] = []
    monkeypatch.setattr(trial_location, "check_connection", urls.append)
    return urls


def test_without_a_server_trials_lie_in_a_file_of_the_directory(tmp_path: Path, checked: list[str]) -> None:
    found = TrialLocation(tmp_path, None)
    found.claim()
    assert found.location == tmp_path / "study.db"
    assert found.record_name("digits") == "digits"
    assert not found.exists()
    (tmp_path / "study.db").touch()
    assert found.exists()
    assert not checked


def test_a_server_is_remembered_without_the_password(tmp_path: Path, checked: list[str]) -> None:
    TrialLocation(tmp_path, GIVEN).claim()
    assert "s3cret" not in (tmp_path / "storage.json").read_text()
    again = TrialLocation(tmp_path, None)
    assert again.exists()
    assert again.location == SHOWN
    assert TrialLocation(tmp_path, GIVEN).location == GIVEN
    again.claim()
    assert checked == [GIVEN, SHOWN]


def test_a_run_has_names_of_its_own_on_a_server_and_keeps_them(tmp_path: Path) -> None:
    names = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        location = TrialLocation(tmp_path / folder, GIVEN)
        for _ in range(2):
            location.claim()
            names.append(location.record_name("digits"))
    assert names[0] == names[1] != names[2] == names[3]
    assert all(name.startswith("digits-") for name in names)


def test_trials_that_lie_elsewhere_are_told_without_a_password(tmp_path: Path, checked: list[str]) -> None:
    TrialLocation(tmp_path, GIVEN).claim()
    with pytest.raises(StudyChangedError, match=f"are in .*db.example.*--storage names {re.escape(OTHER)}"):
        TrialLocation(tmp_path, OTHER.replace("me@", "me:s3cret@")).claim()
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "study.db").touch()
    with pytest.raises(StudyChangedError, match=r"are in .*study\.db, and --storage names") as caught:
        TrialLocation(tmp_path / "file", GIVEN).claim()
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert checked == [GIVEN]


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///x.db", "nonsense", ""])
def test_what_is_no_server_of_ours_claims_nothing(tmp_path: Path, url: str) -> None:
    with pytest.raises(StorageError, match="is expected"):
        TrialLocation(tmp_path, url).claim()
    assert not list(tmp_path.iterdir())


def test_another_run_on_the_same_server_is_read_with_the_same_password(tmp_path: Path) -> None:
    for folder, url in (("here", GIVEN), ("elsewhere", OTHER)):
        (tmp_path / folder).mkdir()
        TrialLocation(tmp_path / folder, url).claim()
    here, elsewhere, nowhere = (TrialLocation(tmp_path / name, None) for name in ("here", "elsewhere", "no"))
    given = TrialLocation(tmp_path / "mine", GIVEN)
    assert given.url_for(here) == GIVEN
    assert given.url_for(elsewhere) is None
    assert given.url_for(nowhere) is None
    assert TrialLocation(tmp_path / "mine", None).url_for(here) is None
