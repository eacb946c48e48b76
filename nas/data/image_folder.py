"""A folder of images, one folder in it per class."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from PIL import Image
from torchvision.datasets import ImageFolder as Folder

from nas.data.items import Items
from nas.data.raw import RawData
from nas.data.selection import Parts
from nas.errors import DataError, one_line

_PARTS = {"train", "training", "val", "valid", "validation", "test", "testing"}


@final
@dataclass(frozen=True)
class ImageFolder(RawData):
    """Images in torchvision's ImageFolder layout: ``root/class/anything.jpg``. See :class:`RawData` for the rest.

    Classes are numbered in the order of their names.

    Args:
        root: The folder.
        test_root: A second folder of the same classes, the official test part; None to split ``root``.
        channels: 3 for colour, 1 for grey; files of the other kind are converted.
    """

    root: str | Path
    test_root: str | Path | None = None
    channels: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels not in (1, 3):
            raise DataError(f"channels is {self.channels}: 1 for grey or 3 for colour is expected.")
        if self.test_root is not None and _folder(self.root) == _folder(self.test_root):
            raise DataError(
                f"root and test_root are both {self.root}, so the images that train would also test: name another "
                "folder as test_root, or leave it out to split root."
            )

    @property
    def _channels(self) -> int:
        return self.channels

    def parts(self) -> Parts:
        """Find the files.

        Raises:
            DataError: a folder is missing, holds no classes or a class without images, or holds parts of a
                data set where classes are expected.
        """
        train, names = _items(Path(self.root).expanduser())
        test = None
        if self.test_root is not None:
            test, test_names = _items(Path(self.test_root).expanduser())
            if names != test_names:
                different = sorted(set(names) ^ set(test_names))
                raise DataError(
                    f"{self.root} and {self.test_root} must hold the same classes, and {different} are in one of "
                    "them only: add or remove those folders."
                )
        return Parts(_folder(self.root).name, train, test, tuple(names))


def _folder(stated: str | Path) -> Path:
    return Path(stated).expanduser().resolve()


def _items(root: Path) -> tuple[Items, list[str]]:
    if not root.is_dir():
        raise DataError(f"there is no folder {root}: name the folder that holds one folder per class.")
    folders = sorted(path.name for path in root.iterdir() if path.is_dir())
    if folders and {name.lower() for name in folders} <= _PARTS:
        raise DataError(
            f"{root} holds the folders {folders}, which are parts of a data set and not classes: name the part to "
            "train on as root and the one to test on as test_root."
        )
    try:
        found = Folder(str(root))
    except FileNotFoundError as error:  # no class, or one without images
        reason = one_line(error)
        raise DataError(f"{root} is not a folder of one folder of images per class ({reason}).") from error
    paths = [Path(path) for path, _ in found.samples]

    @functools.cache
    def key() -> str:
        stats = [path.stat() for path in paths]
        names = [str(path.relative_to(root)) for path in paths]
        facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in zip(names, stats, strict=True)]
        return f"{root.resolve()} {facts!r}"

    return (
        Items(
            labels=np.array([label for _, label in found.samples], dtype=np.int64),
            read=lambda row: _opened(paths[row]),
            name=lambda row: str(paths[row]),
            key=key,
            threads=True,
        ),
        list(found.classes),
    )


def _opened(path: Path) -> Image.Image:
    """Return a lazy image whose file is closed once it is decoded or given up."""
    return Image.open(path)
