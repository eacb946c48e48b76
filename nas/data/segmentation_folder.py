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
from nas.data.selection import Parts
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
        test_images: A second folder of images, the official test part; None to split ``images``.
        test_masks: The folder of their masks.
        classes: As in :class:`nas.data.masks.Masks`: the names of the classes by number, or how many there are; None
            for as many as the masks hold.
        ignored: See there: the value of pixels that neither teach nor count.
        values: See there: the class of each value, where values are no class numbers.
        mask_suffix: What a mask's name has more than its image's before the ending, such as ``_mask``.
        channels: 3 for colour, 1 for grey; images of the other kind are converted.
        name: For reports; None for the name of the folder of images.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("images", "masks"):
            check_kind("SegmentationFolder", name, getattr(self, name), str | Path, "a path")
        for name in ("test_images", "test_masks"):
            check_kind("SegmentationFolder", name, getattr(self, name), str | Path | None, "a path or None")
        check_kind("SegmentationFolder", "mask_suffix", self.mask_suffix, str, "a string")
        if self.channels not in (1, 3):
            raise DataError(f"channels is {self.channels!r}: 1 for grey or 3 for colour is expected.")
        if (self.test_images is None) != (self.test_masks is None):
            raise DataError(
                f"test_images is {self.test_images} and test_masks {self.test_masks}: state both, or none of them."
            )
        _check_different(
            images=self.images, masks=self.masks, test_images=self.test_images, test_masks=self.test_masks
        )
        _ = self._reading

    @property
    def _channels(self) -> int:
        return self.channels

    @property
    def _reading(self) -> Masks:
        return Masks(self.classes, self.ignored, self.values)

    def parts(self) -> Parts:
        """Find the files, and read the masks.

        Raises:
            DataError: a folder is missing or can't be read; images and masks don't belong together; masks can't be
                used.
        """
        pairs = [self._pairs(self.images, self.masks)]
        if self.test_images is not None and self.test_masks is not None:
            pairs.append(self._pairs(self.test_images, self.test_masks))
        name = self.name or _folder(self.images).name
        return read_masked_parts(name, pairs, self._reading, self._decoding)

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


def _check_different(**folders: str | Path | None) -> None:
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
