"""Reading files of points: what each point holds, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.checks import failing_as
from nas.errors import DataError

Fields = Mapping[str, NDArray[Any]]
"""Arrays with one row per point, by name."""

_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_PLY_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}


def read_fields(path: Path) -> Fields:
    """Return what a file says of each of its points.

    Raises:
        DataError: the file can't be read, or is of a kind that we don't know.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is of no kind that is known as points: use one of {', '.join(READERS)}.")
    with failing_as(DataError, f"the points in {path} can't be read", "check that the file is whole"):
        return reader(path)


def _npz(path: Path) -> Fields:
    with (
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):  # numpy leaves damaged ones open
        return {name: arrays[name] for name in arrays.files}


def _npy(path: Path) -> Fields:
    array = np.load(path, allow_pickle=False)
    if array.dtype.names is not None:
        return {name: array[name] for name in array.dtype.names}
    if array.ndim != 2 or array.shape[1] < 4:
        raise DataError(
            f"{path} holds an array of shape {array.shape}: one row per point is expected, with x, y, z, features and "
            "at last the label; or an array with named fields."
        )
    middle = {f"feature{number}": array[:, 3 + number] for number in range(array.shape[1] - 4)}
    return {"x": array[:, 0], "y": array[:, 1], "z": array[:, 2], **middle, "label": array[:, -1]}


def _ply(path: Path) -> Fields:
    """Read the vertices, in any of the three forms of the format."""
    with path.open("rb") as file:
        form, counts, properties = _ply_header(file.readline, path)
        if next(iter(counts), None) != "vertex":
            raise DataError(f"{path} has no vertices as its first element: they are read as the points.")
        dtype = np.dtype([(name, _PLY_ORDERS[form] + kind) for name, kind in properties])
        if form == "ascii":
            lines = [tuple(line.split()) for line in islice(file, counts["vertex"])]
            array = np.array(lines, dtype=dtype)
        else:
            array = np.frombuffer(file.read(counts["vertex"] * dtype.itemsize), dtype=dtype)
    if len(array) < counts["vertex"]:
        raise DataError(f"{path} ends after {len(array)} of {counts['vertex']} points: the file is cut off.")
    return {name: array[name] for name, _ in properties}


def _ply_header(
    next_line: Callable[[], bytes], path: Path
) -> tuple[str, dict[str, int], list[tuple[str, str]]]:
    """Return the form, how many there are of each element, and the vertices' properties with their types."""
    form, counts, properties = "", dict[str, int](), list[tuple[str, str]]()
    words = next_line().split()
    if words != [b"ply"]:
        raise DataError(f"{path} doesn't begin with 'ply': it is no PLY file.")
    while words != [b"end_header"]:
        words = (line := next_line()).split()
        match [word.decode(errors="replace") for word in words]:  # a comment may be in any encoding
            case ["format", name, _] if name in _PLY_ORDERS:
                form = name
            case ["element", name, count]:
                counts[name] = int(count)
            case ["property", kind, name] if list(counts) == ["vertex"]:
                properties.append((name, _PLY_TYPES[kind]))
            case ["property", "list", *_] if list(counts) == ["vertex"]:
                raise DataError(f"{path} has vertices that hold lists: only numbers are read.")
        if not line:
            raise DataError(f"{path} ends within its header: the file is cut off.")
    return form, counts, properties


def _las(path: Path) -> Fields:
    try:
        import laspy  # an extra, and most people have no such files
    except ImportError as error:
        raise DataError(
            f"{path} needs laspy: install it with the extra 'lidar' (pip install 'nas[lidar]')."
        ) from error
    try:
        cloud = laspy.read(path)
    except laspy.errors.LaspyException as error:
        if path.suffix.lower() == ".laz" and "backend" in str(error).lower():
            raise DataError(
                f"{path} is compressed and needs lazrs: install the extra 'lidar' (pip install 'nas[lidar]')."
            ) from error
        raise
    dimensions = {name: np.asarray(cloud[name]) for name in cloud.point_format.dimension_names}
    return {**dimensions, **{axis: np.asarray(cloud[axis]) for axis in "xyz"}}


READERS: dict[str, Callable[[Path], Fields]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".ply": _ply,
    ".las": _las,
    ".laz": _las,
}
