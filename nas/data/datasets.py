"""Data sets of torch and torchvision."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np
import torch
import torchvision
from torch.utils.data import Subset
from torchvision import datasets

from nas.checks import check_kind
from nas.data.items import Items, judge
from nas.data.locations import DATA, cache_folder, data_root
from nas.data.pixels import to_tensor
from nas.data.raw import RawData
from nas.data.selection import Parts
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


class MapDataset(Protocol):
    """A map-style data set of torch: items are ``(image, label)``, or longer and begin so."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, index: int, /) -> Any:
        """Return an item; the same each time."""


@final
@dataclass(frozen=True)
class DatasetPair(RawData):
    """Any data sets of torch. See :class:`RawData` for the rest.

    Images are PIL images, uint8 or float tensors ``(channels, height, width)``, or arrays
    ``(height, width, channels)``. Vectors of floats or of token ids are taken as they are.

    Args:
        train: To be split into train and search.
        test: The official test part; None to split one off ``train``.
        name: For reports.
    """

    train: MapDataset
    test: MapDataset | None = None
    name: str = "data set"

    def parts(self) -> Parts:
        """Read the labels.

        Raises:
            DataError: a data set is not map-style, its labels are no integers or can't be read, or it changes
                from one reading to the next.
        """
        train = items_of(self.train, f"train part of {self.name}", self.skip_corrupt)
        test = None
        if self.test is not None:
            test = items_of(self.test, f"test part of {self.name}", self.skip_corrupt)
        return Parts(self.name, train, test, _class_names(self.train))


@final
@dataclass(frozen=True)
class TorchvisionData(RawData):
    """A classification data set of torchvision, by the name of its class. See :class:`RawData` for the rest.

    Args:
        name: Such as ``FashionMNIST``, ``CIFAR100`` or ``EuroSAT``.
        root: The folder that torchvision calls root; None for what the environment variable ``NAS_DATA`` says.
        download: Whether torchvision may download what is missing.
        options: More arguments of that class and its bases, such as ``{"split": "letters"}`` for EMNIST; not
            ``train``, because both parts are opened.

    Raises:
        DataError: ``train`` is among the options.
    """

    name: str
    root: str | Path | None = None
    download: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kind("TorchvisionData", "name", self.name, str, "the name of a class such as 'FashionMNIST'")
        check_kind("TorchvisionData", "root", self.root, str | Path | None, "a path or None")
        check_kind("TorchvisionData", "options", self.options, Mapping, "arguments by name")
        if "train" in self.options:
            raise DataError(
                f"options={dict(self.options)} of {self.name} hold train: leave it out, because the training part is "
                "split into train and search, and the test part is the test split."
            )

    def parts(self) -> Parts:
        """Open the data set, both parts of it where it has two.

        Raises:
            DataError: torchvision has no such data set, or it is not there, is damaged or has other options.
        """
        kind = _named(self.name)
        root = data_root(self.root, self.name)
        part = {"train": True} if "train" in _accepted(kind) else {}
        dataset = self._opened(kind, root, {**part, **self.options})
        train, test, names = _numbered(
            self._items(dataset, "train"), self._test(kind, root), _class_names(dataset)
        )
        return Parts(self.name, train, test, names)

    def _test(self, kind: type, root: Path) -> Items | None:
        for selection in _test_parts(kind, self.options):
            try:
                test = self._opened(kind, root, {**selection, **self.options})
            except DataError as error:
                if "split" in selection and "Unknown value" in str(error.__cause__):
                    continue  # one of our guesses, which torchvision doesn't know
                raise
            return self._items(test, "test")
        return None

    def _opened(self, kind: type, root: Path, arguments: dict[str, Any]) -> MapDataset:
        accepted = _accepted(kind)
        if self.download and "download" in accepted:
            arguments["download"] = True
        try:
            opened: MapDataset = kind(str(root), **arguments)
        except (RuntimeError, OSError) as error:
            raise DataError(self._missing(root, error, "download" in accepted)) from error
        except Exception as error:  # torchvision checks little of its options and files
            why = one_line(error).rstrip(".").replace(". ", "; ")
            raise DataError(
                f"torchvision can't open {self.name} with {arguments} ({why}): change them "
                f"with options=, or replace the files in {root} if they are damaged."
            ) from error
        return opened

    def _missing(self, root: Path, error: Exception, downloadable: bool) -> str:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        if self.download and downloadable:
            return f"{self.name} can't be read from or downloaded to {root} ({why}): check the connection."
        remedy = (
            "with download=True torchvision fetches it" if downloadable else "torchvision can't download it"
        )
        return (
            f"{self.name} is not in {root} as torchvision wants it ({why}): name another folder as root= or in "
            f"the environment variable {DATA}, or put it there; {remedy}."
        )

    def _items(self, dataset: MapDataset, part: str) -> Items:
        what = f"torchvision {torchvision.__version__} {dataset!r} {sorted(self.options.items())} {part}"
        folder = getattr(dataset, "_base_folder", None) or getattr(dataset, "root", None)
        key = None if folder is None else functools.cache(functools.partial(_key, what, Path(folder)))
        return items_of(dataset, f"{part} part of {self.name}", self.skip_corrupt, key)


def _key(what: str, folder: Path) -> str:
    """Return what changes with names, sizes and times of the files in a folder; they are followed through links."""
    facts = hashlib.sha256(what.encode())
    seen = {str(cache_folder().resolve())}  # decoded data may lie beside its source
    for place, folders, names in os.walk(folder.resolve(), followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for path in (Path(place, name) for name in sorted(names)):
            stat = path.stat() if path.exists() else path.lstat()
            facts.update(repr((str(path), stat.st_size, stat.st_mtime_ns)).encode())
    return facts.hexdigest()


def _named(name: str) -> type:
    kinds = {n: getattr(datasets, n) for n in datasets.__all__}
    known = [n for n, kind in kinds.items() if isinstance(kind, type) and kind is not datasets.VisionDataset]
    if name not in known:
        close = difflib.get_close_matches(name, known) or known
        raise DataError(f"torchvision has no data set {name!r}: did you mean {' or '.join(close[:3])}?")
    kind: type = kinds[name]
    if "root" not in _accepted(kind):
        raise DataError(
            f"{name} of torchvision takes no root, because it has no files: give it as "
            f"DatasetPair(torchvision.datasets.{name}(...))."
        )
    return kind


def _accepted(kind: type) -> set[str]:
    """Return the arguments of a class, with those that its bases take where it passes more on to them."""
    names: set[str] = set()
    for base in inspect.getmro(kind):
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters
        names |= set(parameters)
        if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            break
    return names


def _test_parts(kind: type, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the arguments that may select an official test part, the best first."""
    accepted = _accepted(kind)
    if "train" in accepted:
        return [{"train": False}]
    if "split" in accepted and "split" not in options:
        return [{"split": name} for name in ("test", "val", "valid")]
    return []


def _numbered(
    train: Items, test: Items | None, names: tuple[str, ...]
) -> tuple[Items, Items | None, tuple[str, ...]]:
    """Return both parts with labels from 0 without gaps; EMNIST's letters begin at 1, for instance."""
    labels = train.labels if test is None else np.concatenate([train.labels, test.labels])
    known = np.unique(labels)
    if not len(known) or known[0] < 0 or known[-1] == len(known) - 1:
        return train, test, names

    def numbered(part: Items) -> Items:
        return dataclasses.replace(part, labels=np.searchsorted(known, part.labels))

    kept = tuple(names[label] for label in known.tolist() if label < len(names))
    return numbered(train), None if test is None else numbered(test), kept


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
    if not (isinstance(dataset, Sized) and hasattr(dataset, "__getitem__")):
        raise DataError(
            f"the {name} is {type(dataset).__name__}: a map-style data set with __len__ and __getitem__ is needed, "
            "because the same items must be found again."
        )
    stated = _stated(dataset)
    rows, found = (range(len(dataset)), stated) if stated is not None else _read(dataset, name, skip_corrupt)
    labels = _integers(found, name)
    changing = _changing(dataset, rows)
    if changing is not None:
        raise DataError(
            f"the {name} gives another image each time it is asked for item {changing}: leave random transforms out "
            "of it and give them to Recipe(augment=...)."
        )
    return Items(
        labels,
        read=lambda row: dataset[rows[row]][0],
        name=lambda row: f"item {rows[row]} of the {name}",
        key=key if len(rows) == len(dataset) else None,  # another time others may be damaged
    )


def _changing(dataset: MapDataset, rows: Sequence[int]) -> int | None:
    """Return the first of some items, spread over all, that is not the same when it is read again."""
    for position in np.linspace(0, len(rows) - 1, min(len(rows), _COMPARED)).astype(int).tolist():
        row: int = rows[position]
        try:
            first, again = (to_tensor(dataset[row][0], None, None).numpy() for _ in range(2))
        except Exception:  # damaged: whoever decodes it tells which
            continue
        if not np.array_equal(first, again, equal_nan=True):
            return row
    return None


def _stated(dataset: Any) -> Sequence[Any] | None:
    """Return the labels that a data set knows without reading its items; None if it knows none."""
    if type(dataset) is Subset:  # a class of the user's own may change labels
        known = _stated(dataset.dataset)
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
        labels.append(_label(item, row, name))
    judge(damaged, len(dataset), skip_corrupt)
    return rows, labels


def _integers(found: Sequence[Any], name: str) -> IntArray:
    """Return labels as ``(n,)`` int64."""
    try:
        labels = np.asarray(found)
        with np.errstate(invalid="ignore"):  # what is no number differs below
            whole = labels.astype(np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(_not_integers(name, found[0])) from error
    if labels.ndim != 1 and len(found):
        raise DataError(_not_integers(name, found[0]))
    if not np.array_equal(whole, labels):
        raise DataError(_not_integers(name, found[int(np.flatnonzero(whole != labels)[0])]))
    return whole.reshape(len(found))


def _label(item: Any, row: int, name: str) -> Any:
    try:
        return item[1]
    except (TypeError, IndexError, KeyError) as error:
        raise DataError(f"item {row} of the {name} is no pair of an image and a label ({error}).") from error


def _not_integers(name: str, label: object) -> str:
    text = repr(label)
    shown = text if len(text) < 40 else f"{text[:40]}…"
    return f"the {name} has the label {shown}: one integer from 0 is expected for each item, as for classification."


def _class_names(dataset: object) -> tuple[str, ...]:
    names = getattr(dataset, "classes", None)
    return tuple(map(str, names)) if isinstance(names, Sequence) and not isinstance(names, str) else ()
