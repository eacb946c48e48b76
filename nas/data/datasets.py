"""Data sets of torch and torchvision."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torchvision
from torchvision import datasets

from nas.checks import check_kind
from nas.data.dataset_items import MapDataset, items_of, pairs_of
from nas.data.decoding import Decoding
from nas.data.items import Items
from nas.data.locations import DATA, cache_folder, data_root
from nas.data.masked import pairs_of_files, read_masked_parts
from nas.data.masks import Masks
from nas.data.raw import RawData
from nas.data.selection import FoundItems
from nas.data.torchvision_masks import MaskedData, find_masks
from nas.errors import DataError, first_line, one_line

_TRANSFORMS = ("transform", "target_transform", "transforms")
"""Options with which an item is not what lies in the files."""


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
        masks: Where items are images with masks, what the values of these stand for; None where they have labels.
    """

    train: MapDataset
    test: MapDataset | None = None
    name: str = "data set"
    masks: Masks | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kind("DatasetPair", "masks", self.masks, Masks | None, "Masks() or None")

    def find_items(self) -> FoundItems:
        """Read the labels or masks.

        Raises:
            DataError: a data set is not map-style, its labels are no integers or can't be read, its masks can't be
                used, it changes from one reading to the next, or both name a label differently.
        """
        if self.masks is not None:
            return _make_masked(self.name, self.train, self.test, self.masks, self._decoding)
        train = items_of(self.train, f"train part of {self.name}", self.skip_corrupt)
        names, test = _class_names(self.train), None
        if self.test is not None:
            test = items_of(self.test, f"test part of {self.name}", self.skip_corrupt)
            self._check_names(names, _class_names(self.test), test)
        return FoundItems(self.name, train, test, names)

    def _check_names(self, names: Sequence[str], test_names: Sequence[str], test: Items) -> None:
        """Refuse a test part that calls a label otherwise, as one whose folders are other classes does."""
        for label in np.unique(test.labels).tolist():
            known = 0 <= label < min(len(names), len(test_names))
            if known and names[label] != test_names[label]:
                raise DataError(
                    f"label {label} is {names[label]!r} in the train part of {self.name} and {test_names[label]!r} in "
                    "its test part: both must number the same classes alike."
                )


def _make_masked(
    name: str, train: MapDataset, test: MapDataset | None, masks: Masks, how: Decoding
) -> FoundItems:
    """Return the parts of data sets whose items are images and masks."""
    pairs = [
        pairs_of(dataset, f"{part} part of {name}", masks, how.size)
        for part, dataset in (("train", train), ("test", test))
        if dataset is not None
    ]
    return read_masked_parts(name, pairs, masks, how)


@final
@dataclass(frozen=True)
class TorchvisionData(RawData):
    """A data set of torchvision, by the name of its class. See :class:`RawData` for the rest.

    Items have a class each, or masks: those of ``VOCSegmentation``, of ``Cityscapes`` (the 19 that are evaluated),
    and of ``OxfordIIITPet`` with ``options={"target_types": "segmentation"}``. The test part of the first two is what
    they call val, because their test masks are not public.

    Args:
        name: Such as ``FashionMNIST``, ``CIFAR100`` or ``EuroSAT``.
        root: The folder that torchvision calls root; None for what the environment variable ``NAS_DATA`` says.
        download: Whether torchvision may download what is missing.
        options: More arguments of that class and its bases, such as ``{"split": "letters"}`` for EMNIST; not
            ``train``, because both parts are opened.
        masks: What the values of masks stand for; None for what the data set's authors say.

    Raises:
        DataError: ``train`` is among the options.
    """

    name: str
    root: str | Path | None = None
    download: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    masks: Masks | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kind("TorchvisionData", "name", self.name, str, "the name of a class such as 'FashionMNIST'")
        check_kind("TorchvisionData", "root", self.root, str | Path | None, "a path or None")
        check_kind("TorchvisionData", "masks", self.masks, Masks | None, "Masks() or None")
        check_kind("TorchvisionData", "options", self.options, Mapping, "arguments by name")
        if "train" in self.options:
            raise DataError(
                f"options={dict(self.options)} of {self.name} hold train: leave it out, because the training part is "
                "split into train and search, and the test part is the test split."
            )

    def find_items(self) -> FoundItems:
        """Open the data set, both parts of it where it has two.

        Raises:
            DataError: torchvision has no such data set, or it is not there, is damaged or has other options.
        """
        kind, known = _find_class(self.name), find_masks(self.name, self.options)
        root = data_root(self.root, self.name)
        options = {**({} if known is None else known.options), **self.options}
        part = {"train": True} if "train" in _list_arguments(kind) else {}
        dataset = self._open(kind, root, {**part, **options})
        test = self._test(kind, root, options, () if known is None else known.test)
        if known is not None or self.masks is not None:
            return self._make_masked(known, dataset, test)
        items = None if test is None else self._items(test, "test")
        train, items, names = _number_labels(self._items(dataset, "train"), items, _class_names(dataset))
        return FoundItems(self.name, train, items, names)

    @property
    def _channels(self) -> int | None:
        return 3 if find_masks(self.name, self.options) is not None else None  # as torchvision converts them

    def _make_masked(
        self, known: MaskedData | None, train: MapDataset, test: MapDataset | None
    ) -> FoundItems:
        masks = self.masks or (Masks() if known is None else known.masks)
        if known is None or any(self.options.get(name) is not None for name in _TRANSFORMS):
            return _make_masked(self.name, train, test, masks, self._decoding)
        pairs = [
            pairs_of_files(*known.files(dataset), masks, self._size)
            for dataset in (train, test)
            if dataset is not None
        ]
        return read_masked_parts(self.name, pairs, masks, self._decoding)

    def _test(
        self, kind: type, root: Path, options: Mapping[str, Any], best: Sequence[Mapping[str, Any]]
    ) -> MapDataset | None:
        """Open the official test part; None where there is none, or the options say which part is to be split."""
        stated = any(name in self.options for selection in best for name in selection)
        for selection in () if stated else best or _test_parts(kind, self.options):
            try:
                return self._open(kind, root, {**options, **selection})
            except DataError as error:
                if "split" in selection and "Unknown value" in str(error.__cause__):
                    continue  # one of our guesses, which torchvision doesn't know
                raise
        return None

    def _open(self, kind: type, root: Path, arguments: dict[str, Any]) -> MapDataset:
        accepted = _list_arguments(kind)
        if self.download and "download" in accepted:
            arguments["download"] = True
        try:
            opened: MapDataset = kind(str(root), **arguments)
        except (RuntimeError, OSError) as error:
            raise DataError(self._describe_missing(root, error, "download" in accepted)) from error
        except Exception as error:  # torchvision checks little of its options and files
            why = one_line(error).replace(". ", "; ")
            raise DataError(
                f"torchvision can't open {self.name} with {arguments} ({why}): change them "
                f"with options=, or replace the files in {root} if they are damaged."
            ) from error
        return opened

    def _describe_missing(self, root: Path, error: Exception, downloadable: bool) -> str:
        why = first_line(error)
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


def _find_class(name: str) -> type:
    kinds = {n: getattr(datasets, n) for n in datasets.__all__}
    known = [n for n, kind in kinds.items() if isinstance(kind, type) and kind is not datasets.VisionDataset]
    if name not in known:
        close = difflib.get_close_matches(name, known) or known
        raise DataError(f"torchvision has no data set {name!r}: did you mean {' or '.join(close[:3])}?")
    kind: type = kinds[name]
    if "root" not in _list_arguments(kind):
        raise DataError(
            f"{name} of torchvision takes no root, because it has no files: give it as "
            f"DatasetPair(torchvision.datasets.{name}(...))."
        )
    return kind


def _list_arguments(kind: type) -> set[str]:
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
    accepted = _list_arguments(kind)
    if "train" in accepted:
        return [{"train": False}]
    if "split" in accepted and "split" not in options:
        return [{"split": name} for name in ("test", "val", "valid")]
    return []


def _number_labels(
    train: Items, test: Items | None, names: tuple[str, ...]
) -> tuple[Items, Items | None, tuple[str, ...]]:
    """Return both parts with labels from 0 without gaps; EMNIST's letters begin at 1, for instance."""
    labels = train.labels if test is None else np.concatenate([train.labels, test.labels])
    known = np.unique(labels)
    if not len(known) or known[0] < 0 or known[-1] == len(known) - 1:
        return train, test, names

    def number(part: Items) -> Items:
        return dataclasses.replace(part, labels=np.searchsorted(known, part.labels))

    kept = tuple(names[label] for label in known.tolist() if label < len(names))
    return number(train), None if test is None else number(test), kept


def _class_names(dataset: object) -> tuple[str, ...]:
    names = getattr(dataset, "classes", None)
    return tuple(map(str, names)) if isinstance(names, Sequence) and not isinstance(names, str) else ()
