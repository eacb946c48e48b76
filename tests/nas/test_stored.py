from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas.errors import DamagedFileError, RunDirectoryError
from nas.files import read_json, write_json
from nas.stored import of_json, read_stored, to_json, write_stored
from nas.typed import MismatchError


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_stored(tmp_path / "file", {"a": (1, 2.5), "b": {"c": None}})
    assert read_stored(tmp_path / "file", dict[str, Any])["a"] == [1, 2.5]


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"3", b'"text"', b'{"a": "x"}', b'{"a": NaN}'])
@pytest.mark.parametrize("more", [b"", b"\xff", b"{"])
def test_what_is_not_of_the_kind_is_a_damaged_file(tmp_path: Path, content: bytes, more: bytes) -> None:
    (tmp_path / "file").write_bytes(content + more)
    with pytest.raises(DamagedFileError, match=r"file is damaged .*delete it and run") as caught:
        read_stored(tmp_path / "file", dict[str, float])
    assert "\n" not in str(caught.value)


def test_any_other_digit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_stored(path, {"accuracy": 0.91})
    path.write_text(path.read_text().replace("0.91", "0.81"))
    with pytest.raises(DamagedFileError, match="doesn't match its own digest"):
        read_stored(path, dict[str, Any])
    content = read_json(path)
    del content["digest"]  # as somebody does who meant it
    write_json(path, content)
    assert read_stored(path, dict[str, Any]) == {"accuracy": 0.81}


def test_nested_beyond_measure_is_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("[" * 200_000)
    with pytest.raises(DamagedFileError):
        read_stored(tmp_path / "file", dict[str, Any])


def test_what_cant_be_read_is_a_sentence(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunDirectoryError, match="can't be read"):
            read_stored(path, dict[str, Any])


@pytest.mark.parametrize(
    "value",
    [
        (1, 2.5, "a", None, True),
        [(1,), [2, ()], []],
        {"tuple": (1, {"dict": [{}]}), "": None},
        {"dict": {"tuple": [1]}},
    ],
)
def test_values_of_any_depth_come_back_equal_and_of_their_types(value: object) -> None:
    stored = json.loads(json.dumps(to_json(value)))
    assert repr(of_json(stored)) == repr(value)
    assert to_json(of_json(stored)) == stored == to_json(value)


@pytest.mark.parametrize("value", [object(), ({1, 2},), {1: 2}, [b""], {"a": {(): 1}}])
def test_what_json_cant_tell_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="can't be told in JSON"):
        to_json(value)


@pytest.mark.parametrize("stored", [{}, {"tuple": 3}, {"tuple": [], "dict": {}}, [{"set": [1]}]])
def test_json_of_another_make_is_a_mismatch(stored: object) -> None:
    with pytest.raises(MismatchError, match="neither a tuple nor a dictionary"):
        of_json(stored)
