"""How chosen items become one tensor, in memory or in a file; which of them are damaged."""

from __future__ import annotations

import collections
import dataclasses
import functools
import logging
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import final

import numpy as np
from torch import Tensor

from nas.data import decoded_files
from nas.data.items import Chosen, Items
from nas.data.locations import memory_bytes
from nas.data.pixels import RULES, is_deep, losses, to_tensor
from nas.errors import DataError, one_line
from nas.files import digest

logger = logging.getLogger(__name__)

_CHUNK = 256
_CHUNK_BYTES = 2**26
"""Items, and bytes of them, on their way to a file: large images take little memory so."""
_SHOWN = 5
"""Names that a sentence shows, of possibly thousands."""


@final
@dataclass(frozen=True)
class Decoding:
    """How items become tensors.

    Args:
        size: Height and width of every image; None where all are equal.
        channels: As in :func:`to_tensor`.
        skip_corrupt: Whether items that can't be read are left out.
        memory_share: Part of the memory that decoded items may take; beyond that they go to a file.
        deep: As in :func:`to_tensor`: whether there is a deep image among the items.
    """

    size: tuple[int, int] | None
    channels: int | None
    skip_corrupt: bool
    memory_share: float
    deep: bool = False


@final
@dataclass(frozen=True)
class DecodedItems:
    """What came of decoding.

    Args:
        values: ``(n, *shape)``.
        kept: The parts, with the rows that could be read.
        mapped: Whether ``values`` is a file.
    """

    values: Tensor
    kept: tuple[Chosen, ...]
    mapped: bool


def decode(parts: Sequence[Chosen], how: Decoding) -> DecodedItems:
    """Decode all parts into one tensor, one after the other.

    Raises:
        DataError: items can't be read and may not be left out, or differ in shape.
    """
    try:
        return _decode(parts, how)
    except _DeepImageFound:  # then all images are decoded as deep ones are, also those before it
        return _decode(parts, dataclasses.replace(how, deep=True))


def _decode(parts: Sequence[Chosen], how: Decoding) -> DecodedItems:
    reader = _Reader(parts, how)
    first = reader.example()
    total = sum(len(part.rows) for part in parts)
    num_bytes = total * math.prod(first.shape) * first.dtype.itemsize
    mapped = num_bytes > how.memory_share * memory_bytes()
    place = "in a file, mapped into memory" if mapped else "in memory"
    logger.info("%d items of shape %s: %.1f MB %s", total, tuple(first.shape), num_bytes / 1e6, place)
    if not mapped:
        values = decoded_files.in_memory(reader.rows(), total)
        return DecodedItems(values, _without(parts, reader.list_left_out()), mapped)
    key = _key(parts, how)
    known = None if key is None else decoded_files.find_stored(key)
    if known is not None:
        values, left_out = known
        return DecodedItems(values, _without(parts, left_out), mapped)
    values = decoded_files.on_disk(reader.rows(), key, reader.list_left_out)
    return DecodedItems(values, _without(parts, reader.list_left_out()), mapped)


def _key(parts: Sequence[Chosen], how: Decoding) -> str | None:
    keys = [part.items.key() for part in parts if part.items.key is not None]
    if len(keys) < len(parts):
        return None
    rows = [part.rows.tolist() for part in parts]
    return digest([RULES, keys, rows, how.size, how.channels, how.skip_corrupt])


def _without(parts: Sequence[Chosen], left_out: list[list[int]]) -> tuple[Chosen, ...]:
    """Return the parts without those rows."""
    bad = [np.array([row for part, row in left_out if part == n], dtype=np.int64) for n in range(len(parts))]
    return tuple(
        dataclasses.replace(part, rows=part.rows[~np.isin(part.rows, gone)])
        for part, gone in zip(parts, bad, strict=True)
    )


class _DeepImageFound(Exception):  # noqa: N818 - it is no error
    """An image is deep, which :class:`Decoding` didn't know."""


@dataclass
class _Reader:
    """Reads the parts in order and remembers what couldn't be read, or not all of it."""

    parts: Sequence[Chosen]
    how: Decoding
    _damaged: list[tuple[int, int, str]] = field(default_factory=list)
    _partly_used: dict[str, set[str]] = field(default_factory=dict)

    def example(self) -> Tensor:
        """Return the first item that can be read; it says what all others must look like."""
        reasons = []
        for part in self.parts:
            for row in part.rows[:_CHUNK].tolist():
                value = self._tensor(part.items, row)
                if isinstance(value, Tensor):
                    self._first, self._first_name = value, part.items.name(row)
                    return value
                reasons.append(f"{part.items.name(row)} ({value})")
        raise DataError(
            f"none of the first items can be read, such as {reasons[0]}: check that these are the right files."
        )

    def rows(self) -> Iterator[Tensor]:
        """Yield the items in order.

        Raises:
            DataError: after the last one, so that all damaged items are named together.
        """
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for number, part in enumerate(self.parts):
                for rows, values in self._read(part, threads):
                    for row, value in zip(rows, values, strict=True):
                        good = self._check_value(number, row, value)
                        if good is not None:
                            yield good
        total = sum(len(part.rows) for part in self.parts)
        report_damaged([text for _, _, text in self._damaged], total, self.how.skip_corrupt)
        for what, names in self._partly_used.items():
            logger.warning("%d of %d items %s: %s", len(names), total, what, _list_names(sorted(names)))

    def _read(
        self, part: Chosen, threads: ThreadPoolExecutor
    ) -> Iterator[tuple[list[int], list[Tensor | str]]]:
        """Yield some rows of a part at a time, and what :meth:`_tensor` makes of them."""
        size = max(1, min(_CHUNK, _CHUNK_BYTES // self._first.nbytes))
        chunks = (part.rows[start : start + size].tolist() for start in range(0, len(part.rows), size))
        read = functools.partial(self._tensor, part.items)
        if not part.items.threads:
            yield from ((rows, [read(row) for row in rows]) for rows in chunks)
            return
        # Two chunks at a time are enough to keep the threads busy, and bound the memory.
        ahead: collections.deque[tuple[list[int], Iterator[Tensor | str]]] = collections.deque()
        for rows in chunks:
            ahead.append((rows, threads.map(read, rows)))
            if len(ahead) > 1:  # while these are stored, the threads go on with the next ones
                done, values = ahead.popleft()
                yield done, list(values)
        for rows, values in ahead:
            yield rows, list(values)

    def list_left_out(self) -> list[list[int]]:
        """Return the number of the part and the row in it of each item that couldn't be read."""
        return [[number, row] for number, row, _ in self._damaged]

    def _tensor(self, items: Items, row: int) -> Tensor | str:
        """Return the item, or why it can't be read."""
        try:
            with items.open(row) as item:
                if is_deep(item) and not self.how.deep:
                    raise _DeepImageFound
                what = losses(item)
                if what is not None:
                    self._partly_used.setdefault(what, set()).add(items.name(row))
                value = to_tensor(item, self.how.size, self.how.channels, deep=self.how.deep)
                return value.contiguous()  # here, where several threads work
        except _DeepImageFound:
            raise
        except DataError as error:
            raise DataError(f"{items.name(row)}: {error}") from error
        except Exception as error:  # PIL, and whatever a user's data set reads with, raise almost anything
            return one_line(error).replace(f" {items.name(row)!r}", "")

    def _check_value(self, number: int, row: int, value: Tensor | str) -> Tensor | None:
        name = self.parts[number].items.name(row)
        if isinstance(value, str):
            self._damaged.append((number, row, f"{name} ({value})"))
            return None
        first = self._first
        if value.shape != first.shape:
            raise DataError(
                f"{name} has shape {tuple(value.shape)} and {self._first_name} {tuple(first.shape)}, and all must be "
                "equal: state one with size=(height, width), and channels=1 or 3 where grey and colour images "
                "are mixed."
            )
        if value.dtype != first.dtype:
            raise DataError(
                f"{name} is {value.dtype} and {self._first_name} is {first.dtype}: all must be of one kind."
            )
        return value


def report_damaged(damaged: Sequence[str], total: int, skip_corrupt: bool) -> None:
    """Warn of items that can't be read, where they may be left out.

    Args:
        damaged: Name and reason of each.
        total: Items in all.
        skip_corrupt: As in :class:`Decoding`.

    Raises:
        DataError: there are some, and they may not.
    """
    if not damaged:
        return
    what = f"{len(damaged)} of {total} items can't be used: {_list_names(damaged)}"
    if not skip_corrupt:
        raise DataError(f"{what}. Mend or remove them, or leave them out with skip_corrupt=True.")
    logger.warning("%s; they are left out", what)


def _list_names(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
