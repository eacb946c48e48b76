from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nas.errors import DamagedFileError, RunDirectoryError
from nas.files import digest, file_digest, read_json, replacing, write_bytes, write_json


def test_a_written_file_is_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "result.json"
    write_json(path, {"a": [1, 2.5, None]})
    write_json(path, {"a": []})
    assert read_json(path) == {"a": []}
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    write_bytes(path, b"old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_two_that_write_a_file_at_once_write_two(tmp_path: Path) -> None:
    """Processes of different machines may have the same number."""
    path = tmp_path / "result.json"
    with replacing(path) as one:
        one.write_text("one")
        with replacing(path) as other:
            other.write_text("other")
        assert path.read_text() == "other"
    assert path.read_text() == "one"


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_bytes(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunDirectoryError, match="No space left on device") as caught:
        write_bytes(tmp_path / "file", b"new")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_not_json_is_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"a": 1')
    with pytest.raises(DamagedFileError, match="delete it"):
        read_json(tmp_path / "file")


def test_bytes_that_are_no_text_are_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(128, 256)))
    with pytest.raises(DamagedFileError):
        read_json(tmp_path / "file")


def test_what_cant_be_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, *_: object) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    (tmp_path / "file").touch()
    for name in ("open", "read_bytes"):
        monkeypatch.setattr(Path, name, refused)
    for read in (read_json, file_digest):
        with pytest.raises(RunDirectoryError, match=r"file can't be read \(Permission denied\)") as caught:
            read(tmp_path / "file")
        assert "\n" not in str(caught.value)


def test_nan_is_never_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", {"value": float("nan")})
    assert not (tmp_path / "file").exists()


def test_a_digest_tells_values_apart_and_not_their_order() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert len({digest(value) for value in (1, 1.5, "1", [1], None, True)}) == 6
