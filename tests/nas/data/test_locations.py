from __future__ import annotations

from pathlib import Path

import pytest

from nas.data.locations import CACHE, DATA, cache_folder, data_root, memory_bytes
from nas.errors import DataError


def test_what_a_study_says_comes_before_what_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA, "~/all")
    assert data_root("~/mine", "CIFAR") == Path.home() / "mine"
    assert data_root(None, "CIFAR") == Path.home() / "all"
    for unset in ("", None):
        monkeypatch.delenv(DATA) if unset is None else monkeypatch.setenv(DATA, unset)
        with pytest.raises(DataError, match=f"where CIFAR lies is not known: .* {DATA}"):
            data_root(None, "CIFAR")


def test_the_cache_is_made_where_the_machine_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "a" / "b"))
    assert cache_folder() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE, str(tmp_path / "file" / "b"))
    with pytest.raises(DataError, match=rf"can't be made \(Not a directory\): .* {CACHE}") as caught:
        cache_folder()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stated", "bytes_of_machine_or_container"), [("1000", 1000), ("max", 1 << 20), ("9" * 30, 1 << 20)]
)
def test_a_container_may_use_less_than_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, stated: str, bytes_of_machine_or_container: int
) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 1024, "SC_PHYS_PAGES": 1024}[name])
    monkeypatch.setattr(Path, "read_text", lambda _: f"{stated}\n")
    assert memory_bytes() == bytes_of_machine_or_container
