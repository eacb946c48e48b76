"""Items of torch's data sets: labels or masks, and whether they are the same each time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence, Sized
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Subset
from torchvision import datasets

from nas.data.decoding import report_damaged
from nas.data.items import Items
from nas.data.masked import Pairs
from nas.data.masks import Masks, mask_tensor
from nas.data.pixels import to_tensor
from nas.errors import DataError, one_line
from nas.space import IntArray

_LABELLED = (
    datasets.CLEVRClassification,
    datasets.DTD,
    datasets.FGVCAircraft,
    datasets.Flowers102,
    datasets.Food101,
    datasets.SUN397,
)
"""Data sets of torchvision whose labels are ``_labels``; OxfordIIITPet's items may have others than its own."""
_COMPARED = 16
"""Items that are read twice. A transform that changes every second one at random is missed once in 65,000 times."""


class MapDataset(Protocol):
    """A map-style data set of torch: items are ``(image, label)``, or longer and begin so."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, index: int, /) -> Any:
        """Return an item; the same each time."""


def items_of(
    dataset: MapDataset, name: str, skip_corrupt: bool = False, key: Callable[[], str] | None = None
) -> Items:
    """Return a data set's items.

    Args:
        dataset: Map-style.
        name: For messages.
        skip_corrupt: Whether items are left out that must be read for their labels, and can't be.
        key: As in :class:`Items`.

    Raises:
        DataError: it is not map-style, its labels are no integers or can't be read, or an item is not the same each
            time.
    """
    _check_map_style(dataset, name)
    stated = _read_labels(dataset)
    rows, found = (range(len(dataset)), stated) if stated is not None else _read(dataset, name, skip_corrupt)
    labels = _integers(found, name)
    _check_same(dataset, name, rows, _image_of)
    return Items(
        labels,
        read=lambda row: dataset[rows[row]][0],
        name=lambda row: f"item {rows[row]} of the {name}",
        key=key if len(rows) == len(dataset) else None,  # another time others may be damaged
    )


def pairs_of(dataset: MapDataset, name: str, masks: Masks, size: tuple[int, int] | None) -> Pairs:
    """Return the images and masks of a data set, which are read item by item.

    Args:
        dataset: Map-style; items are ``(image, mask)``.
        name: For messages.
        masks: What values of masks stand for.
        size: As in :class:`nas.data.decoding.Decoding`.

    Raises:
        DataError: it is not map-style, or an item is not the same each time.
    """
    _check_map_style(dataset, name)
    rows = range(len(dataset))
    _check_same(dataset, name, rows, lambda item: np.append(_image_of(item), np.asarray(item[1])))

    def read_mask(row: int) -> Tensor:
        item = dataset[row]
        return mask_tensor(_target(item, row, name), item[0], masks, size)

    labels = np.zeros(len(dataset), dtype=np.int64)
    images = Items(labels, lambda row: dataset[row][0], lambda row: f"item {row} of the {name}")
    return Pairs(images, dataclasses.replace(images, read=read_mask))


def _check_map_style(dataset: object, name: str) -> None:
    if not (isinstance(dataset, Sized) and hasattr(dataset, "__getitem__")):
        raise DataError(
            f"the {name} is {type(dataset).__name__}: a map-style data set with __len__ and __getitem__ is needed, "
            "because the same items must be found again."
        )


def _image_of(item: Any) -> NDArray[Any]:
    return to_tensor(item[0], None, None).numpy()


def _check_same(
    dataset: MapDataset, name: str, rows: Sequence[int], values: Callable[[Any], NDArray[Any]]
) -> None:
    """Check some items, spread over all: that they are the same when they are read again."""
    for position in np.linspace(0, len(rows) - 1, min(len(rows), _COMPARED)).astype(int).tolist():
        row: int = rows[position]
        try:
            first, again = (values(dataset[row]) for _ in range(2))
        except Exception:  # damaged: whoever decodes it tells which
            continue
        if not np.array_equal(first, again, equal_nan=first.dtype.kind == "f"):
            raise DataError(
                f"the {name} gives another image or mask each time it is asked for item {row}: leave random "
                "transforms out of it and give them to Recipe(augment=...)."
            )


def _read_labels(dataset: Any) -> Sequence[Any] | None:
    """Return the labels that a data set knows without reading its items; None if it knows none."""
    if type(dataset) is Subset:  # a class of the user's own may change labels
        known = _read_labels(dataset.dataset)
        places = [int(index) for index in dataset.indices]
        if known is None or not all(-len(known) <= place < len(known) for place in places):
            return None
        return [known[place] for place in places]
    stated = getattr(dataset, "_labels" if isinstance(dataset, _LABELLED) else "targets", None)
    trusted = getattr(dataset, "target_transform", None) is None
    if isinstance(stated, torch.Tensor | np.ndarray):
        stated = stated.tolist()
    return stated if trusted and isinstance(stated, Sequence) and len(stated) == len(dataset) else None


def _read(dataset: MapDataset, name: str, skip_corrupt: bool) -> tuple[list[int], list[Any]]:
    """Return the rows of all items that can be read, and their labels."""
    rows, labels, damaged = [], [], []
    for row in range(len(dataset)):
        try:
            item = dataset[row]
        except Exception as error:  # it decodes the image as well, and may raise almost anything
            damaged.append(f"item {row} of the {name} ({one_line(error)})")
            continue
        rows.append(row)
        labels.append(_target(item, row, name))
    report_damaged(damaged, len(dataset), skip_corrupt)
    return rows, labels


def _integers(found: Sequence[Any], name: str) -> IntArray:
    """Return labels as ``(n,)`` int64."""
    try:
        labels = np.asarray(found)
        with np.errstate(invalid="ignore"):  # what is no number differs below
            whole = labels.astype(np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(_not_integers(name, next(filter(_is_strange, found), found[0]))) from error
    if labels.ndim != 1 and len(found):
        raise DataError(_not_integers(name, found[0]))
    if not np.array_equal(whole, labels):
        raise DataError(_not_integers(name, found[int(np.flatnonzero(whole != labels)[0])]))
    return whole.reshape(len(found))


def _is_strange(label: Any) -> bool:
    """Whether this alone is no integer that numpy holds."""
    try:
        return bool(np.int64(label) != label)
    except (TypeError, ValueError, OverflowError):
        return True


def _target(item: Any, row: int, name: str) -> Any:
    try:
        return item[1]
    except (TypeError, IndexError, KeyError) as error:
        raise DataError(
            f"item {row} of the {name} is no pair of an image and its label or mask ({error})."
        ) from error


def _not_integers(name: str, label: object) -> str:
    text = repr(label)
    shown = text if len(text) < 40 else f"{text[:40]}…"
    return (
        f"the {name} has the label {shown}: one integer from 0 is expected for each item, as for classification; "
        "where they are masks, state masks=Masks()."
    )
