"""A folder of images, one folder in it per class."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from PIL import Image

from nas.checks import check_kind
from nas.data.groups import check_group_rule, groups_of_files
from nas.data.image_files import count_kinds, files_key, find_files, image_suffixes
from nas.data.items import Items
from nas.data.raw import RawData
from nas.data.selection import FoundItems
from nas.errors import DataError

logger = logging.getLogger(__name__)

_PARTS = {"train", "training", "val", "valid", "validation", "test", "testing"}


@final
@dataclass(frozen=True)
class ImageFolder(RawData):
    """Images in torchvision's ImageFolder layout: ``root/class/anything.jpg``. See :class:`RawData` for the rest.

    Classes are numbered in the order of their names. Files of every format that Pillow decodes are used, others are
    counted and named in a warning. Names that begin with a dot are passed over.

    Args:
        root: The folder.
        test_root: A second folder of the same classes, the official test part; None to split ``root``.
        channels: 3 for colour, 1 for grey; files of the other kind are converted.
        group: How to tell which images belong together, such as those of one patient, and go into one split: the level
            of a folder, 1 for those in the folders of classes; or a regular expression that is looked for in the
            path below ``root``, of which what is in parentheses is the group. None where all are by themselves.
    """

    root: str | Path
    test_root: str | Path | None = None
    channels: int = 3
    group: str | int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kind("ImageFolder", "root", self.root, str | Path, "a path")
        check_kind("ImageFolder", "test_root", self.test_root, str | Path | None, "a path or None")
        if self.channels not in (1, 3):
            raise DataError(f"channels is {self.channels!r}: 1 for grey or 3 for colour is expected.")
        check_group_rule("ImageFolder", self.group)
        if self.test_root is not None and _folder(self.root) == _folder(self.test_root):
            raise DataError(
                f"root and test_root are both {self.root}, so the images that train would also test: name another "
                "folder as test_root, or leave it out to split root."
            )

    @property
    def _channels(self) -> int:
        return self.channels

    def find_items(self) -> FoundItems:
        """Find the files.

        Raises:
            DataError: a folder is missing, can't be read, holds no classes or a class without images, is in two classes
                through a link, or holds parts of a data set where classes are expected.
        """
        train, names = _items(Path(self.root).expanduser(), self.group)
        test = None
        if self.test_root is not None:
            test, test_names = _items(Path(self.test_root).expanduser(), self.group)
            if names != test_names:
                different = sorted(set(names) ^ set(test_names))
                raise DataError(
                    f"{self.root} and {self.test_root} must hold the same classes, and {different} are in one of "
                    "them only: add or remove those folders."
                )
        return FoundItems(_folder(self.root).name, train, test, tuple(names))


def _folder(stated: str | Path) -> Path:
    return Path(stated).expanduser().resolve()


def _items(root: Path, group: str | int | None) -> tuple[Items, list[str]]:
    classes = _classes(root)
    images = _images(root, classes)
    paths = [path for of_class in images for path in of_class]
    return (
        Items(
            labels=np.repeat(np.arange(len(classes)), [len(of_class) for of_class in images]),
            read=lambda row: Image.open(paths[row]),
            name=lambda row: str(paths[row]),
            key=functools.cache(functools.partial(files_key, root, paths)),
            threads=True,
            files=True,
            groups=groups_of_files([path.relative_to(root).as_posix() for path in paths], group),
        ),
        classes,
    )


def _images(root: Path, classes: Sequence[str]) -> list[list[Path]]:
    """Return the images of each class, and tell of other files."""
    found = [find_files(root / name) for name in classes]
    images = [[path for path in paths if path.suffix.lower() in image_suffixes()] for paths in found]
    others = [path for paths in found for path in paths if path.suffix.lower() not in image_suffixes()]
    empty = [name for name, paths in zip(classes, images, strict=True) if not paths]
    if empty:
        counted = f", but files of other kinds: {count_kinds(others)}" if others else ""
        raise DataError(
            f"{root} must hold one folder of images per class, and {empty} hold no image that Pillow can read"
            f"{counted}: remove those folders, or convert their files to PNG or JPEG."
        )
    _check_one_class_each(classes, images)
    if others:
        what = "%d files in %s are left out, because Pillow reads no images of their kind: %s"
        logger.warning(what, len(others), root, count_kinds(others))
    return images


def _check_one_class_each(classes: Sequence[str], images: Sequence[Sequence[Path]]) -> None:
    """Refuse a folder that a link brings into a second class."""
    owners: dict[str, str] = {}
    for name, paths in zip(classes, images, strict=True):
        for folder in dict.fromkeys(path.parent for path in paths):
            owner = owners.setdefault(os.path.realpath(folder), name)
            if owner != name:
                raise DataError(
                    f"the images in {folder} are of the class {name!r} and, through a link, of {owner!r}: remove the "
                    "link, so that each has one class."
                )


def _classes(root: Path) -> list[str]:
    if not root.is_dir():
        raise DataError(f"there is no folder {root}: name the folder that holds one folder per class.")
    found = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise DataError(f"{root} must hold one folder of images per class, and there is no folder in it.")
    if {name.lower() for name in found} <= _PARTS:
        raise DataError(
            f"{root} holds the folders {found}, which are parts of a data set and not classes: name the part to "
            "train on as root and the one to test on as test_root."
        )
    return found
