"""Point clouds in files, in blocks of a fixed number of points, for segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from numbers import Integral, Real
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from nas.checks import check_kind
from nas.data.assembly import assemble_splits
from nas.data.classes import class_shares
from nas.data.cloud_blocks import Cloud, blocks_of, thin_cloud
from nas.data.cloud_files import READERS
from nas.data.cloud_tiles import Layout, read_tiles
from nas.data.locations import data_root
from nas.data.selection import check_seed
from nas.errors import DataError
from nas.space import FloatArray
from nas.splits import Splits
from nas.tasks.segmentation import IGNORED, SemanticSegmentation


@final
@dataclass(frozen=True)
class PointCloudFolder:
    """Clouds in files, each point with a class: ``.npz``, ``.npy``, ``.ply``, ``.las`` and ``.laz``.

    A file is a tile, or holds several that a field tells apart. Whole tiles train, search and test, and a block never
    reaches over the border of its tile, so no neighbour of a test point is ever trained on. Every point is in one
    block, in training in ``cuts``.

    What a point has is named: arrays of an ``.npz`` file, fields of an ``.npy`` file, properties of the vertices of a
    ``.ply`` file, dimensions of a ``.las`` file. The columns of an ``.npy`` file without names are x, y, z,
    feature0, feature1, ..., label. Coordinates become heights above the tile's lowest point and places from the middle
    of the block, in the unit of the file. Each feature is normalised by its mean and standard deviation in train.

    Args:
        folder: Folder of the files; or one file. A relative path begins in ``root``.
        class_names: By class.
        test: Patterns of the names of the tiles that test, as in a shell: ``("north_*",)``. A tile is named after its
            file, without the ending; where a file holds several, with a slash and the field's value: ``("tiles/4",)``.
        search: Patterns of those that candidates are evaluated on. All others train.
        features: What a point has beside its coordinates.
        coordinates: Name of a field of three columns, or of three fields.
        label: Name of the field that holds a point's class.
        tile: Name of the field that tells the tiles of a file apart; None where each file is one.
        class_codes: What the file has for each class; empty where that is its number.
        ignored: What the file has for points of no class, which neither teach nor count.
        points: How many points a block has.
        grid: Side of the cubes of which each keeps one point, the mean of its points; None to keep all.
        cuts: How often training tiles are cut into blocks, each time turned by another angle.
        fewest: Points that a tile must have after that, such as the neighbours that a network looks for.
        balance: In the loss a point weighs 1 / (share of its class in train + balance), after Hu 2020; None for equal
            weights.
        root: The folder of data sets; None for what the environment variable ``NAS_DATA`` says.
        name: For reports; None for the name of the folder.
        seed: Seed of the order of points in their blocks.

    Raises:
        DataError: a number is out of range.
        StudyError: an argument is of another kind.
    """

    folder: str | Path
    class_names: tuple[str, ...]
    test: tuple[str, ...]
    search: tuple[str, ...]
    features: tuple[str, ...] = ()
    coordinates: tuple[str, ...] = ("x", "y", "z")
    label: str = "label"
    tile: str | None = None
    class_codes: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    points: int = 1024
    grid: float | None = None
    cuts: int = 1
    fewest: int = 16
    balance: float | None = 0.02
    root: str | Path | None = None
    name: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        holder = "PointCloudFolder"
        check_kind(holder, "folder", self.folder, str | Path, "a path")
        for field in ("class_names", "test", "search", "features", "coordinates", "class_codes", "ignored"):
            check_kind(holder, field, getattr(self, field), tuple, "a tuple")
        for field in ("points", "cuts", "fewest"):
            value = getattr(self, field)
            check_kind(holder, field, value, Integral, "an integer")
            if value < 1:
                raise DataError(f"{field} is {value}: 1 or more is expected.")
        for field, wanted in (("grid", "length, in the unit of the files,"), ("balance", "number")):
            value = getattr(self, field)
            check_kind(holder, field, value, Real | None, "a number or None")
            if value is not None and not value > 0:
                raise DataError(f"{field} is {value}: a positive {wanted} is expected.")
        if not 2 <= len(self.class_names) <= IGNORED:
            raise DataError(f"there are {len(self.class_names)} class names: 2 to {IGNORED} are expected.")
        if len(self.coordinates) not in (1, 3):
            raise DataError(
                f"coordinates are {self.coordinates}: one field of three columns, or three fields."
            )
        if self.class_codes and len(self.class_codes) != len(self.class_names):
            raise DataError(
                f"there are {len(self.class_codes)} class codes and {len(self.class_names)} class names: one each is "
                "expected."
            )
        check_seed(self.seed)

    def load(self) -> Splits:
        """Return the splits: inputs ``(n, points, 3 + features)`` float32, targets ``(n, points)`` uint8.

        Raises:
            DataError: as :meth:`clouds`, or a split lacks a class.
        """
        name = self.name or Path(self.folder).stem
        inputs, targets = [], []
        for number, part in enumerate(normalise(self.clouds())):
            blocks = [
                blocks_of(cloud, self.points, 1 if number else self.cuts, rng)
                for cloud, rng in zip(
                    part, np.random.default_rng([self.seed, number]).spawn(len(part)), strict=True
                )
            ]
            inputs += [made for made, _ in blocks]
            targets.append(torch.from_numpy(np.concatenate([made for _, made in blocks])))
        shares = self._check_shares(name, targets)
        weights = () if self.balance is None else tuple((1 / (shares + self.balance)).tolist())
        return assemble_splits(
            name,
            torch.from_numpy(np.concatenate(inputs)),
            targets,
            SemanticSegmentation(len(self.class_names), self.class_names, IGNORED, weights),
            input_names=("points",),
            official_test=True,
        )

    def _check_shares(self, name: str, targets: Sequence[Tensor]) -> FloatArray:
        """Return the class shares of train, and refuse splits that lack a class."""
        found = [class_shares(part, len(self.class_names)) for part in targets]
        for split, shares in zip(("train", "search", "test"), found, strict=True):
            missing = np.flatnonzero(shares == 0)
            if len(missing):
                raise DataError(
                    f"the {split} split of {name} has no point of class {missing[0]} "
                    f"({self.class_names[missing[0]]!r}): choose its tiles so that it has some, or leave the class out."
                )
        return found[0]

    def clouds(self) -> list[list[Cloud]]:
        """Return the tiles of train, search and test, thinned.

        Raises:
            DataError: a file can't be read or lacks a field, a tile is no cloud of labelled points, or a pattern fits
                no tile.
        """
        codes = self.class_codes or tuple(range(len(self.class_names)))
        layout = Layout(self.coordinates, self.features, self.label, self.tile, codes, self.ignored)
        tiles: dict[str, Cloud] = {}
        for path in self._files():
            for cloud in read_tiles(path, layout):
                if cloud.name in tiles:
                    raise DataError(f"two tiles are named {cloud.name!r}: rename one of the files.")
                tiles[cloud.name] = self._thin(cloud)
        parts = self._part_tiles(sorted(tiles))
        return [[tiles[name] for name in part] for part in parts]

    def _thin(self, cloud: Cloud) -> Cloud:
        left = cloud if self.grid is None or not len(cloud.targets) else thin_cloud(cloud, self.grid)
        if len(left.targets) < self.fewest:
            grid = "" if self.grid is None else f" on the grid of {self.grid}"
            raise DataError(
                f"tile {cloud.name!r} of {self.folder} has {len(left.targets)} point(s){grid}, and at least "
                f"{self.fewest} are needed, the neighbours of one: remove it, or join it to another; fewest= says how "
                "many."
            )
        return left

    def _files(self) -> list[Path]:
        stated = Path(self.folder).expanduser()
        path = stated if stated.is_absolute() else data_root(self.root, str(self.folder)) / stated
        if path.is_file():
            return [path]
        files = sorted(file for file in path.glob("*") if file.suffix.lower() in READERS)
        if not files:
            raise DataError(
                f"{path} holds no file of points ({', '.join(READERS)}): check that the path is right."
            )
        return files

    def _part_tiles(self, names: Sequence[str]) -> list[list[str]]:
        """Return the names of the tiles of train, search and test."""
        held = []
        for what, patterns in (("search", self.search), ("test", self.test)):
            for pattern in patterns:
                if not any(fnmatchcase(name, pattern) for name in names):
                    raise DataError(f"the {what} pattern {pattern!r} fits no tile: there are {list(names)}.")
            held.append([n for n in names if any(fnmatchcase(n, pattern) for pattern in patterns)])
        both = sorted(set(held[0]) & set(held[1]))
        train = [name for name in names if name not in held[0] and name not in held[1]]
        if both or not train or not all(held):
            what = f"{both} are in search and in test" if both else "train, search or test has no tile"
            raise DataError(f"{what} of {list(names)}: change the patterns so that every part has its own.")
        return [train, *held]


def normalise(parts: Sequence[Sequence[Cloud]]) -> list[list[Cloud]]:
    """Return clouds whose features have mean 0 and standard deviation 1 in the first part, or are 0 there."""
    train = np.concatenate([cloud.features for cloud in parts[0]])
    mean, std = train.mean(0), train.std(0)
    std[std <= 1e-12 * np.abs(mean)] = 1
    return [[replace(cloud, features=(cloud.features - mean) / std) for cloud in part] for part in parts]
