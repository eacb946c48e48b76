"""Text classification from tab-separated files, with a vocabulary of the train split."""

from __future__ import annotations

import collections
import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from nas.checks import check_integers, check_kind
from nas.data.assembly import split_values
from nas.data.groups import as_groups, tell_groups
from nas.data.items import Items
from nas.data.locations import data_root
from nas.data.selection import FoundItems, Selection, check_classes
from nas.data.table import read_columns
from nas.data.unlabelled import add_unlabelled
from nas.data.words import split_words
from nas.errors import DataError
from nas.splits import Splits

logger = logging.getLogger(__name__)

PADDING, UNKNOWN = 0, 1
_SPECIAL = ("<padding>", "<unknown>")
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?")
_MOST = 0.5
"""Share of unknown words, or of texts that lose their end, of which people should hear."""
_NEARLY_ALL = 0.9
"""Share of unknown words that leaves next to nothing to learn from."""


def vocabulary(texts: Sequence[str], *, max_words: int, min_count: int) -> tuple[str, ...]:
    """Return the word of each token id: padding, unknown, then words, the most frequent first.

    Args:
        texts: Texts of the train split.
        max_words: Length of the result, at most.
        min_count: Words that occur less often are left out.
    """
    counts = collections.Counter(word for text in texts for word in split_words(text))
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    frequent = [word for word, count in ranked if count >= min_count]
    return (*_SPECIAL, *frequent[: max_words - len(_SPECIAL)])


def token_ids(texts: Sequence[str], known: Sequence[str], max_length: int) -> Tensor:
    """Return ``(n, max_length)`` int64 ids; a text without any word is one unknown word.

    Args:
        texts: Any.
        known: As :func:`vocabulary` returns it.
        max_length: Longer texts lose their end, shorter ones are padded there.

    Raises:
        DataError: the vocabulary was made by other rules than those of :func:`split_words`.
    """
    strange = next((word for word in known[len(_SPECIAL) :] if split_words(word) != [word]), None)
    if strange is not None:
        raise DataError(
            f"the vocabulary holds {strange!r}, which these rules don't take for one word: use the version of nas that "
            "made it, or make it again."
        )
    number = {word: position for position, word in enumerate(known)}
    ids = np.full((len(texts), max_length), PADDING, dtype=np.int64)
    for row, text in enumerate(texts):
        # An empty text becomes one unknown word, so that every text has a token that isn't padding.
        found = [number.get(word, UNKNOWN) for word in split_words(text)[:max_length]] or [UNKNOWN]
        ids[row, : len(found)] = found
    return torch.from_numpy(ids)


@final
@dataclass(frozen=True)
class TextTable:
    """Texts in a tab-separated file with a header line, as token ids.

    A token is a word or a punctuation mark, in lower case, or a character of a script without spaces: see
    :func:`nas.data.words.split_words`. The vocabulary is made from the train split alone: what occurs at least
    ``min_count`` times, the most frequent first. Id 0 is padding at the end, id 1 every other word. A text longer than
    ``max_length`` loses its end; an empty one is one unknown word. Quotation marks mean nothing to the reader of the
    file.

    Args:
        train: The file; a relative path begins in ``root``.
        unlabelled: Another file of texts, for pre-training, which needs no labels; its words count for the vocabulary.
        test: The official test part, another file; None to split one off ``train``.
        root: The folder of data sets; None for what the environment variable ``NAS_DATA`` says.
        name: For reports; None for the name of the file.
        text: Name of the column of texts.
        label: Name of the column of labels. Spaces around a label don't count. Classes are numbered in their order,
            numbers as numbers.
        max_length: Tokens per text.
        max_words: Ids are smaller than this; the size of the network's embedding.
        min_count: How often a word must occur to get an id of its own.
        limit: As in :class:`nas.data.raw.RawData`, and so the five after it.
        test_limit: See there.
        search_share: See there.
        test_share: See there.
        seed: See there.
        class_cap: See there.
        group: Name of a column, such as the author: texts of one group go into one split. Spaces around it don't count.
            None where all are apart.
    """

    train: str | Path
    test: str | Path | None = None
    root: str | Path | None = None
    name: str | None = None
    text: str = "text"
    label: str = "label"
    max_length: int = 48
    max_words: int = 10_000
    min_count: int = 2
    limit: int | None = None
    test_limit: int | None = None
    search_share: float = 0.2
    test_share: float = 0.2
    seed: int = 0
    class_cap: int | None = None
    group: str | None = None
    unlabelled: str | Path | None = None

    def __post_init__(self) -> None:
        check_kind("TextTable", "train", self.train, str | Path, "a path")
        for name in ("test", "unlabelled"):
            check_kind("TextTable", name, getattr(self, name), str | Path | None, "a path or None")
        check_kind("TextTable", "group", self.group, str | None, "the name of a column or None")
        check_integers(self, "max_length", "max_words", "min_count")
        if self.max_length < 1 or self.max_words < 3 or self.min_count < 1:
            raise DataError(
                f"max_length is {self.max_length}, max_words {self.max_words} and min_count {self.min_count}: at "
                "least 1, 3 and 1 are needed."
            )
        _ = self._selection

    @property
    def _selection(self) -> Selection:
        shares = (self.search_share, self.test_share)
        return Selection(self.limit, self.test_limit, *shares, self.seed, self.class_cap)

    def load(self) -> Splits:
        """Return the splits: inputs ``(n, max_length)`` int64.

        Raises:
            DataError: a file is missing or not a table with these columns, its classes don't allow splits, or almost
                no word of it is in the vocabulary.
        """
        path = self._path(self.train)
        train, class_names = self._items(path, None)
        test = None if self.test is None else self._items(self._path(self.test), class_names)[0]
        found = FoundItems(self.name or path.stem, train, test, class_names)
        chosen = self._selection.choose(found)
        parted = [[str(part.items.read(row)) for row in part.rows.tolist()] for part in chosen]
        more: list[str] = []
        if self.unlabelled is not None:
            (more,) = read_columns(self._path(self.unlabelled), {"text": self.text})
        known = vocabulary([*parted[0], *more], max_words=self.max_words, min_count=self.min_count)
        ids = token_ids([text for part in parted for text in part], known, self.max_length)
        self._check_known(path, known, ids[: len(parted[0])], ids[len(parted[0]) :])
        _tell_lengths(path, [len(split_words(text)) for part in parted for text in part], self.max_length)
        splits = split_values(
            self._selection.name(found),
            ids,
            [part.items.labels[part.rows] for part in chosen],
            num_classes=check_classes(found),
            class_names=class_names,
            vocabulary=known,
            official_test=found.test is not None,
            notes=tell_groups([p.items.groups[p.rows] for p in chosen if p.items.groups is not None]),
        )
        return add_unlabelled(splits, token_ids(more, known, self.max_length)) if more else splits

    def _items(self, path: Path, class_names: tuple[str, ...] | None) -> tuple[Items, tuple[str, ...]]:
        """Return the items of a file, and its classes where they are not known."""
        columns = {"text": self.text, "label": self.label} | ({"group": self.group} if self.group else {})
        texts, found, *groups = read_columns(path, columns)
        labels = _labels(found, path)
        known = tuple(sorted(set(labels), key=_order)) if class_names is None else class_names
        unknown = sorted(set(labels) - set(known))
        if unknown:
            raise DataError(f"the table {path} has the label {unknown[0]!r}, which the training part lacks.")
        items = Items(
            np.array([known.index(label) for label in labels], dtype=np.int64),
            lambda row: texts[row],
            lambda row: f"line {row + 2} of {path}",
            groups=as_groups([_plain(group) for group in groups[0]], len(texts)) if groups else None,
        )
        return items, known

    def _check_known(self, path: Path, known: Sequence[str], train: Tensor, rest: Tensor) -> None:
        if _unknown(train) > _NEARLY_ALL:
            raise DataError(
                f"{_unknown(train):.0%} of the words of the train split of {path} are not in the vocabulary of "
                f"{len(known) - len(_SPECIAL)} words, so there is next to nothing to learn from: lower "
                f"min_count={self.min_count}, raise max_words={self.max_words}, or give more texts."
            )
        if _unknown(rest) > _MOST:
            told = (
                "%.0f %% of the words of search and test of %s are not in the vocabulary of the train split"
            )
            logger.warning(told, 100 * _unknown(rest), path)

    def _path(self, stated: str | Path) -> Path:
        path = Path(stated).expanduser()
        return path if path.is_absolute() else data_root(self.root, str(stated)) / path


def _unknown(ids: Tensor) -> float:
    """Return which share of the tokens is unknown."""
    return int((ids == UNKNOWN).sum()) / int((ids != PADDING).sum())


def _tell_lengths(path: Path, lengths: Sequence[int], max_length: int) -> None:
    cut = float(np.mean(np.array(lengths) > max_length))
    told = "%.1f %% of the texts of %s lose their end at max_length=%d"
    logger.log(logging.WARNING if cut > _MOST else logging.INFO, told, 100 * cut, path, max_length)


def _labels(found: Sequence[str], path: Path) -> list[str]:
    labels = [_plain(label) for label in found]
    if "" in labels:
        raise DataError(
            f"line {labels.index('') + 2} of the table {path} has no label: give it one, or remove it."
        )
    return labels


def _plain(entry: str) -> str:
    return unicodedata.normalize("NFC", entry.strip())


def _order(label: str) -> tuple[bool, float, str]:
    """Sort numbers as numbers, before everything else."""
    return (False, float(label), label) if _NUMBER.fullmatch(label) else (True, 0, label)
