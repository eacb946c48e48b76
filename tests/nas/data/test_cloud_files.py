from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.data.cloud_files import read_fields
from nas.errors import DataError

HEADER = """ply
format {form} 1.0
comment made by hand
element vertex 2
property float x
property double y
property uchar label
element face 0
property list uchar int vertex_indices
end_header
"""
ROWS = np.array([(1.5, 2.25, 3), (-1, 0.5, 255)], dtype=[("x", "f4"), ("y", "f8"), ("label", "u1")])


def ply(form: str) -> bytes:
    header = HEADER.format(form=form).encode()
    if form == "ascii":
        return header + b"1.5 2.25 3\n-1 0.5 255\n"
    swapped = ROWS.astype(ROWS.dtype.newbyteorder("<" if "little" in form else ">"))
    return header + swapped.tobytes()


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_files_of_every_form(tmp_path: Path, form: str) -> None:
    (tmp_path / "a.ply").write_bytes(ply(form))
    fields = read_fields(tmp_path / "a.ply")
    assert {name: values.tolist() for name, values in fields.items()} == {
        "x": [1.5, -1],
        "y": [2.25, 0.5],
        "label": [3, 255],
    }


def test_the_comments_of_a_ply_file_may_be_in_any_encoding(tmp_path: Path) -> None:
    content = ply("ascii").replace(b"made by hand", "Créé par CloudCompare".encode("latin-1"))
    (tmp_path / "a.ply").write_bytes(content)
    assert read_fields(tmp_path / "a.ply")["x"].tolist() == [1.5, -1]


def test_arrays_with_named_fields_and_with_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", xyz=np.zeros((2, 3)), label=np.ones(2))
    assert sorted(read_fields(tmp_path / "a.npz")) == ["label", "xyz"]
    np.save(tmp_path / "a.npy", ROWS)
    assert read_fields(tmp_path / "a.npy")["label"].tolist() == [3, 255]
    np.save(tmp_path / "b.npy", np.arange(12.0).reshape(2, 6))
    fields = read_fields(tmp_path / "b.npy")
    assert list(fields) == ["x", "y", "z", "feature0", "feature1", "label"]
    assert fields["label"].tolist() == [5, 11]


def test_las_files_give_scaled_coordinates(tmp_path: Path) -> None:
    laspy = pytest.importorskip("laspy")
    cloud = laspy.create()
    cloud.x, cloud.y, cloud.z = np.array([[700_000.12, 1], [2, 3], [4, 5]])
    cloud.classification = [2, 6]
    cloud.intensity = [7, 65_535]
    cloud.write(tmp_path / "a.las")
    fields = read_fields(tmp_path / "a.las")
    np.testing.assert_allclose(fields["x"], [700_000.12, 1], atol=0.01)
    assert fields["classification"].tolist() == [2, 6]
    assert fields["intensity"].tolist() == [7, 65_535]


def test_without_laspy_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "laspy":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "a.laz").write_bytes(b"LASF")
    with pytest.raises(DataError, match=r"nas\[lidar\]"):
        read_fields(tmp_path / "a.laz")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", b"1 2 3", "is of no kind that is known"),
        ("a.ply", b"plx\n", "it is no PLY file"),
        ("a.ply", ply("ascii")[:60], "ends within its header"),
        ("a.ply", ply("binary_little_endian")[:-13], "ends after 1 of 2 points"),
        ("a.ply", ply("ascii")[:-12], "ends after 1 of 2 points"),
        ("a.ply", ply("ascii").replace(b"float x", b"list uchar int x"), "vertices that hold lists"),
        (
            "a.ply",
            ply("ascii").replace(b"element vertex", b"element camera 1\nelement vertex"),
            "no vertices as its first",
        ),
        ("a.npz", b"PK\x03\x04", "can't be read"),
        ("a.npy", b"", "can't be read"),
        ("a.las", b"LASF", "can't be read"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        read_fields(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
