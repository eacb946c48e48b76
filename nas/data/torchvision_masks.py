"""What torchvision's data sets for segmentation don't say themselves: where their files are, and what values mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from torchvision import datasets

from nas.data.masks import Masks
from nas.tasks.segmentation import IGNORED

_VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "dining table",
        "dog",
        "horse",
        "motorbike",
        "person",
        "potted plant",
        "sheep",
        "sofa",
        "train",
        "monitor",
    ),
)
"""The classes of Pascal VOC, by number."""


@final
@dataclass(frozen=True)
class MaskedData:
    """A data set of torchvision whose items are images and masks.

    Args:
        masks: What the values stand for.
        files: Returns the files of images, and of masks, of an opened data set.
        options: What it is opened with, to give masks.
        test: What selects the part with masks that is held out.
    """

    masks: Masks
    files: Callable[[Any], tuple[list[Path], list[Path]]]
    options: Mapping[str, Any]
    test: tuple[Mapping[str, Any], ...]


def find_masks(name: str, options: Mapping[str, Any]) -> MaskedData | None:
    """Return how a data set of torchvision gives masks; None if it gives none with these options.

    Known are Pascal VOC (Everingham 2010), Cityscapes (Cordts 2016) and the Oxford-IIIT pets (Parkhi 2012).
    """
    if name == "VOCSegmentation":
        held_out = "test" if options.get("year") == "2007" else "val"
        return MaskedData(Masks(_VOC), _voc_files, {"image_set": "train"}, ({"image_set": held_out},))
    if name == "Cityscapes":
        # The masks of its test part are blank: the official ones are kept by its benchmark.
        return MaskedData(
            _cityscapes_masks(), _cityscapes_files, {"target_type": "semantic"}, ({"split": "val"},)
        )
    if name == "OxfordIIITPet" and options.get("target_types") in ("segmentation", ["segmentation"]):
        # Of its trimaps, 3 is "not classified".
        trimap = Masks(("pet", "background"), values={1: 0, 2: 1, 3: None})
        return MaskedData(trimap, _pet_files, {}, ({"split": "test"},))
    return None


def _cityscapes_masks() -> Masks:
    """Return the 19 classes that are evaluated; the others are ignored."""
    known = [kind for kind in datasets.Cityscapes.classes if 0 <= kind.train_id < IGNORED]
    names = {kind.train_id: kind.name for kind in known}
    numbers = {kind.id: kind.train_id if kind in known else None for kind in datasets.Cityscapes.classes}
    return Masks(
        tuple(names[number] for number in sorted(names)),
        values={value: number for value, number in numbers.items() if value >= 0},  # -1 is written as 255
    )


def _voc_files(dataset: Any) -> tuple[list[Path], list[Path]]:
    return _paths(dataset.images), _paths(dataset.masks)


def _cityscapes_files(dataset: Any) -> tuple[list[Path], list[Path]]:
    place = dataset.target_type.index("semantic")
    order = sorted(range(len(dataset.images)), key=lambda row: str(dataset.images[row]))
    return (
        _paths([dataset.images[row] for row in order]),
        _paths([dataset.targets[row][place] for row in order]),
    )


def _pet_files(dataset: Any) -> tuple[list[Path], list[Path]]:
    return _paths(dataset._images), _paths(dataset._segs)


def _paths(stated: list[Any]) -> list[Path]:
    return [Path(path) for path in stated]
