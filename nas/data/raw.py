"""Data whose items are decoded once and kept, in memory or in a file."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import torch

from nas.checks import check_kind
from nas.data.assembly import assemble_splits
from nas.data.classes import check_every_class
from nas.data.decoding import Decoding, decode
from nas.data.groups import tell_groups
from nas.data.masked import decode_masks, for_images
from nas.data.selection import FoundItems, Selection, check_classes
from nas.errors import DataError
from nas.splits import Splits
from nas.tasks import Classification, SemanticSegmentation


@dataclass(frozen=True, kw_only=True)
class RawData(abc.ABC):
    """A data source whose items are decoded once.

    Args:
        size: Side, or height and width, of all images: each is scaled until it covers this and cut at
            the centre. None leaves them as they are; then all must be equal.
        limit: How many items to use for train and search (and test, if there is no official one),
            chosen with every class in proportion, as is an official search part; None for all. It becomes part of the
            name.
        test_limit: The same for an official test part. Where there is none, what ``test_share`` would keep
            beyond it is for train and search.
        search_share: Part of what is not the official test part that candidates are evaluated on, where there is no
            official search part.
        test_share: Part that is kept for the winners, where there is no official test part.
        seed: Seed of every random choice of items.
        class_cap: How many items of a class the train split holds at most, drawn at random; None for all. It becomes
            part of the name.
        skip_corrupt: Whether items that can't be read are left out; otherwise they are an error.
        memory_share: Part of this machine's memory that decoded items may take. Beyond that they go to
            a file in the folder ``NAS_CACHE`` (default ``~/.cache/nas``) that is read as it is used.
    """

    size: int | tuple[int, int] | None = None
    limit: int | None = None
    test_limit: int | None = None
    search_share: float = 0.2
    test_share: float = 0.2
    seed: int = 0
    class_cap: int | None = None
    skip_corrupt: bool = False
    memory_share: float = 0.25

    def __post_init__(self) -> None:
        if self.size is not None and not _are_sides(self._size):
            raise DataError(f"size is {self.size!r}: a side, or height and width, of 1 or more is expected.")
        if not isinstance(self.skip_corrupt, bool):
            raise DataError(f"skip_corrupt is {self.skip_corrupt!r}: True or False is expected.")
        check_kind("the data source", "memory_share", self.memory_share, Real, "a number")
        if not self.memory_share > 0:
            raise DataError(f"memory_share is {self.memory_share}: a positive share is expected.")
        _ = self._selection

    @property
    def _selection(self) -> Selection:
        shares = (self.search_share, self.test_share)
        return Selection(self.limit, self.test_limit, *shares, self.seed, self.class_cap)

    @property
    def _size(self) -> tuple[int, int] | None:
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def _channels(self) -> int | None:
        """See :func:`nas.data.pixels.to_tensor`."""
        return None

    @property
    def _decoding(self) -> Decoding:
        return Decoding(self._size, self._channels, self.skip_corrupt, self.memory_share)

    @abc.abstractmethod
    def find_items(self) -> FoundItems:
        """Find the items without decoding them.

        Raises:
            DataError: the data is missing or not valid; says what to do.
        """

    def load(self) -> Splits:
        """Return the splits.

        Raises:
            DataError: the data is missing or not valid; says what to do.
        """
        found = self.find_items()
        how, with_masks = self._decoding, found.train.masks is not None
        decoded = decode(self._selection.choose(found), for_images(how) if with_masks else how)
        chosen = decoded.kept
        labels = [part.items.labels[part.rows] for part in chosen]
        num_classes = check_classes(found)
        check_every_class(labels, num_classes, found.class_names)
        if with_masks:
            targets = decode_masks(chosen, how).split([len(part.rows) for part in chosen])
        else:
            targets = [torch.from_numpy(found) for found in labels]
        kind = SemanticSegmentation if with_masks else Classification
        return assemble_splits(
            self._selection.name(found),
            decoded.values,
            targets,
            kind(num_classes, found.class_names),
            mapped=decoded.mapped,
            official_test=found.test is not None,
            official_search=found.search is not None,
            notes=tell_groups([p.items.groups[p.rows] for p in chosen if p.items.groups is not None]),
        )


def _are_sides(value: object) -> bool:
    """Whether this is a height and a width."""
    if not isinstance(value, Sequence) or len(value) != 2:
        return False
    return all(isinstance(v, Integral) and not isinstance(v, bool) and int(v) >= 1 for v in value)
