"""The tiles in a file of points: where each point lies, what else is known of it, and its class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nas.data.cloud_blocks import Cloud
from nas.data.cloud_files import Fields, read_fields
from nas.errors import DataError
from nas.space import FloatArray, IntArray
from nas.tasks.segmentation import IGNORED


@final
@dataclass(frozen=True)
class Layout:
    """Which fields of a file say what; see :class:`nas.data.PointCloudFolder`."""

    coordinates: tuple[str, ...]
    features: tuple[str, ...]
    label: str
    tile: str | None
    codes: tuple[int, ...]
    ignored: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all fields that a file must have."""
        return (
            *self.coordinates,
            *self.features,
            self.label,
            *(() if self.tile is None else (self.tile,)),
        )


def read_tiles(path: Path, layout: Layout) -> list[Cloud]:
    """Return the clouds in a file.

    Raises:
        DataError: it can't be read, lacks a field, or holds no points with finite numbers and a class each.
    """
    fields = read_fields(path)
    _check_fields(path, fields, layout)
    places = _columns(path, layout.coordinates, fields)
    features = _columns(path, layout.features, fields) if layout.features else np.zeros((len(places), 0))
    if places.shape[1] != 3:
        raise DataError(f"{path} has {places.shape[1]} coordinates in {layout.coordinates}: 3 are expected.")
    labels = np.asarray(fields[layout.label])
    if labels.size != len(places):
        raise DataError(
            f"{path} has labels of shape {labels.shape} for {len(places)} points: one class for each is expected, in a "
            "field of its own."
        )
    labels = labels.reshape(-1)
    whole = Cloud(path.stem, places, features, _targets(path, labels, layout))
    if layout.tile is None:
        tiles = [whole]
    else:
        tile = np.asarray(fields[layout.tile])
        tiles = [_some(whole, f"{path.stem}/{value}", tile == value) for value in np.unique(tile).tolist()]
    for cloud in tiles:
        _check_cloud(cloud, path)
    return tiles


def _check_fields(path: Path, fields: Fields, layout: Layout) -> None:
    for name in layout.names:
        if name not in fields:
            what = "no labels" if name == layout.label else "no such field"
            raise DataError(
                f"{path} has {what}: {name!r} is expected among its fields {sorted(fields)}; name another one in "
                "PointCloudFolder."
            )
    lengths = {name: len(np.atleast_1d(fields[name])) for name in layout.names}
    if len(set(lengths.values())) > 1:
        raise DataError(f"the fields of {path} have {lengths} entries: one for every point is expected.")


def _columns(path: Path, names: Sequence[str], fields: Fields) -> FloatArray:
    """Return ``(n, columns)`` of all those fields."""
    found = []
    for name in names:
        values = np.asarray(fields[name])
        if not np.issubdtype(values.dtype, np.number) or values.ndim not in (1, 2):
            raise DataError(
                f"field {name!r} of {path} has {values.dtype} of shape {values.shape}: numbers are expected."
            )
        found.append((values if values.ndim == 2 else values[:, None]).astype(np.float64))
    return np.concatenate(found, 1)


def _targets(path: Path, labels: NDArray[Any], layout: Layout) -> IntArray:
    if not np.issubdtype(labels.dtype, np.number) or not np.array_equal(labels, np.floor(labels)):
        raise DataError(f"{path} has labels of {labels.dtype} that are no integers: number the classes.")
    targets = np.full(len(labels), -1, dtype=np.int64)
    # Ignored codes first, so that a code that is a class as well is that class.
    for target, code in [*((IGNORED, code) for code in layout.ignored), *enumerate(layout.codes)]:
        targets[labels == code] = target
    strange = np.unique(labels[targets < 0])
    if len(strange):
        raise DataError(
            f"{path} has the label {strange[0]:g} at {int((targets < 0).sum())} points, and the classes are "
            f"{layout.codes}: give it a class name (and code), or add it to ignored."
        )
    return targets


def _some(cloud: Cloud, name: str, rows: NDArray[np.bool_]) -> Cloud:
    return Cloud(name, cloud.coordinates[rows], cloud.features[rows], cloud.targets[rows])


def _check_cloud(cloud: Cloud, path: Path) -> None:
    where, count = f"tile {cloud.name!r} of {path}", len(cloud.targets)
    for what, values in (("coordinates", cloud.coordinates), ("features", cloud.features)):
        bad = int((~np.isfinite(values)).any(1).sum())
        if bad:
            raise DataError(f"{where} has {bad} points whose {what} are NaN or infinite: clean it first.")
    if count > 1 and not np.ptp(cloud.coordinates, axis=0).any():
        raise DataError(f"all {count} points of {where} lie in one place: is it the right field?")
    if count and np.all(cloud.targets == IGNORED):
        raise DataError(f"all points of {where} are ignored: remove it, or give them classes.")
