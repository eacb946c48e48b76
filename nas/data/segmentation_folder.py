"""Two folders, one of images and one of their masks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from nas.checks import check_kind
from nas.data.image_files import count_kinds, find_files, image_suffixes
from nas.data.masked import Pairs, pairs_of_files, read_masked_parts
from nas.data.masks import Masks
from nas.data.raw import RawData
from nas.data.selection import FoundItems
from nas.errors import DataError
from nas.tasks.segmentation import IGNORED

logger = logging.getLogger(__name__)

_SHOWN = 5


@final
@dataclass(frozen=True)
class SegmentationFolder(RawData):
    """Images and, in another folder, their masks: ``images/a/1.jpg`` and ``masks/a/1.png``.

    A mask is named as its image, but for the ending. It is an image of one whole number a pixel, grey or by palette,
    which is the pixel's class. It is scaled and cut as its image is, by taking the nearest pixels. See
    :class:`RawData` for the rest; the splits are divided so that each holds its share of every class, as far as
    possible.

    Args:
        images: The folder of images.
        masks: The folder of masks.
        test_images: A second folder of images, the official test part; None to keep ``test_share`` of ``images``.
        test_masks: The folder of their masks.
        classes: As in :class:`nas.data.masks.Masks`: the names of the classes by number, or how many there are; None
            for as many as the masks hold.
        ignored: See there: the value of pixels that neither teach nor count.
        values: See there: the class of each value, where values are no class numbers.
        mask_suffix: What a mask's name has more than its image's before the ending, such as ``_mask``.
        channels: 3 for colour, 1 for grey; images of the other kind are converted.
        name: For reports; None for the name of the folder of images.
        search_images: A folder of images to evaluate candidates on, the official validation part; None to keep
            ``search_share`` of ``images``.
        search_masks: The folder of their masks.
    """

    images: str | Path
    masks: str | Path
    test_images: str | Path | None = None
    test_masks: str | Path | None = None
    classes: int | tuple[str, ...] | None = None
    ignored: int = IGNORED
    values: Mapping[int, int | None] = field(default_factory=dict)
    mask_suffix: str = ""
    channels: int = 3
    name: str | None = None
    search_images: str | Path | None = None
    search_masks: str | Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("images", "masks"):
            check_kind("SegmentationFolder", name, getattr(self, name), str | Path, "a path")
        for part in ("test", "search"):
            self._check_official(part)
        check_kind("SegmentationFolder", "mask_suffix", self.mask_suffix, str, "a string")
        if self.channels not in (1, 3):
            raise DataError(f"channels is {self.channels!r}: 1 for grey or 3 for colour is expected.")
        folders = ("images", "masks", "test_images", "test_masks", "search_images", "search_masks")
        _check_different({name: getattr(self, name) for name in folders})
        _ = self._reading

    @property
    def _channels(self) -> int:
        return self.channels

    @property
    def _reading(self) -> Masks:
        return Masks(self.classes, self.ignored, self.values)

    def find_items(self) -> FoundItems:
        """Find the files, and read the masks.

        Raises:
            DataError: a folder is missing or can't be read; images and masks don't belong together; masks can't be
                used.
        """
        test = self._official_pairs(self.test_images, self.test_masks)
        pairs = [self._pairs(self.images, self.masks), *(() if test is None else (test,))]
        search = self._official_pairs(self.search_images, self.search_masks)
        name = self.name or _folder(self.images).name
        return read_masked_parts(name, pairs, self._reading, self._decoding, search)

    def _check_official(self, part: str) -> None:
        stated = {f"{part}_{what}": getattr(self, f"{part}_{what}") for what in ("images", "masks")}
        for name, folder in stated.items():
            check_kind("SegmentationFolder", name, folder, str | Path | None, "a path or None")
        if len({folder is None for folder in stated.values()}) > 1:
            told = " and ".join(f"{name} is {folder}" for name, folder in stated.items())
            raise DataError(f"{told}: state both, or none of them.")

    def _official_pairs(self, images: str | Path | None, masks: str | Path | None) -> Pairs | None:
        return None if images is None or masks is None else self._pairs(images, masks)

    def _pairs(self, images: str | Path, masks: str | Path) -> Pairs:
        found = _by_stem(_folder(images), "")
        of_masks = _by_stem(_folder(masks), self.mask_suffix)
        lonely = [found[stem] for stem in found if stem not in of_masks]
        strange = [of_masks[stem] for stem in of_masks if stem not in found]
        if lonely or strange:
            what = (
                f"{len(lonely)} of {len(found)} images in {images} have no mask{_list_paths(lonely)}, and "
                f"{len(strange)} of {len(of_masks)} masks in {masks} no image{_list_paths(strange)}"
            )
            if not self.skip_corrupt:
                raise DataError(
                    f"{what}: a mask is named as its image, but for mask_suffix={self.mask_suffix!r} and the ending; "
                    "add or remove files, or leave these out with skip_corrupt=True."
                )
            logger.warning("%s; they are left out", what)
        stems = [stem for stem in found if stem in of_masks]
        files = [found[stem] for stem in stems], [of_masks[stem] for stem in stems]
        return pairs_of_files(*files, self._reading, self._size)


def _folder(stated: str | Path) -> Path:
    return Path(stated).expanduser().resolve()


def _check_different(folders: Mapping[str, str | Path | None]) -> None:
    stated = {name: _folder(path) for name, path in folders.items() if path is not None}
    for name, path in stated.items():
        same = [other for other in stated if other > name and stated[other] == path]
        if same:
            raise DataError(f"{name} and {same[0]} are both {path}: name a folder for each.")


def _by_stem(folder: Path, suffix: str) -> dict[str, Path]:
    """Return the images below a folder by their path in it, without suffix and ending, and tell of other files."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: name the folder that holds the files.")
    found = find_files(folder)
    others = [path for path in found if path.suffix.lower() not in image_suffixes()]
    if others:
        what = "%d files in %s are left out, because Pillow reads no images of their kind: %s"
        logger.warning(what, len(others), folder, count_kinds(others))
    named: dict[str, Path] = {}
    for path in found:
        if path.suffix.lower() not in image_suffixes():
            continue
        stem = str(path.relative_to(folder).with_suffix("")).removesuffix(suffix)
        if stem in named:
            raise DataError(
                f"{named[stem]} and {path} have the same name but for the ending, so which one a mask belongs to is "
                "not known: remove or rename one."
            )
        named[stem] = path
    return named


def _list_paths(paths: Sequence[Path]) -> str:
    shown = ", ".join(map(str, paths[:_SHOWN])) + (", …" if len(paths) > _SHOWN else "")
    return f" ({shown})" if paths else ""
