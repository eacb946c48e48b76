"""Sources and answers as texts, into train, search and test as token ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nas.checks import quote
from nas.data.tensors import split_tensors
from nas.data.words import split_words
from nas.errors import DataError
from nas.splits import Splits
from nas.tasks.sequences import END, PADDING, SPECIAL, START, UNKNOWN, SequenceToSequence

Unit = Literal["character", "word"]
_UNITS: Mapping[str, Callable[[str], list[str]]] = MappingProxyType({"character": list, "word": split_words})


def split_pairs(
    name: str,
    sources: Sequence[str],
    answers: Sequence[str],
    tokens: Sequence[str],
    *,
    unit: Unit = "character",
    source_length: int,
    length: int,
    search_share: float = 0.2,
    test_share: float = 0.2,
    seed: int = 0,
    groups: Sequence[object] | None = None,
) -> Splits:
    """Return splits of a task :class:`nas.tasks.SequenceToSequence`; no source is in two of them.

    Inputs are ``source``, ``(n, source_length)`` ids, and ``answer``, ``(n, length)`` ids: a start and the true answer,
    on which networks are trained. Targets are ``(n, length)``, the answer with its end.

    Args:
        name: Name of the data set, for reports.
        sources: Texts.
        answers: Texts, one for each source.
        tokens: What texts are made of, besides the space between words of characters, such as the letters of the
            alphabet. What else occurs in a text is unknown.
        unit: Whether a token is a character, or a word or punctuation mark as in :func:`nas.data.words.split_words`.
        source_length: Tokens of the longest source.
        length: Tokens of the longest answer, and one more for its end.
        search_share: Part of all pairs that candidates are evaluated on.
        test_share: Part of all pairs that is kept for the winners.
        seed: Seed of the split.
        groups: For each pair a number or a name: those of one group go into one split. None: equal sources are a group.

    Raises:
        DataError: there are not as many answers as sources, a text is too long, or there are too few pairs.
    """
    if unit not in _UNITS:
        raise DataError(f"unit is {quote(unit)}: 'character' or 'word' is expected.")
    if len(sources) != len(answers):
        raise DataError(
            f"{name} has {len(sources)} sources and {len(answers)} answers: as many are expected."
        )
    known = (*SPECIAL, *(token for token in tokens if token not in SPECIAL))
    task = SequenceToSequence(known)
    given = token_ids_of(sources, known, source_length, unit=unit)
    targets = token_ids_of(answers, known, length, unit=unit, end=True)
    shifted = torch.cat([torch.full((len(targets), 1), START), targets[:, :-1]], dim=1)
    splits = split_tensors(
        name,
        (given, shifted),
        targets,
        task,
        search_share=search_share,
        test_share=test_share,
        seed=seed,
        groups=sources if groups is None else groups,
        input_names=("source", "answer"),
    )
    return replace(splits, vocabulary=known, notes=() if groups is None else splits.notes)


def token_ids_of(
    texts: Sequence[str], tokens: Sequence[str], length: int, *, unit: Unit = "character", end: bool = False
) -> Tensor:
    """Return ``(n, length)`` int64 ids of texts, with padding at the end.

    Args:
        texts: Any.
        tokens: The token of each id, as ``vocabulary.json`` in a winner's folder has them.
        length: How many ids a text has.
        unit: See :func:`split_pairs`.
        end: Whether each text gets an end.

    Raises:
        DataError: a text is longer.
    """
    number = {token: position for position, token in enumerate(tokens)}
    ids = np.full((len(texts), length), PADDING, dtype=np.int64)
    for row, text in enumerate(texts):
        found = [number.get(token, UNKNOWN) for token in _UNITS[unit](text)] + [END] * end
        if len(found) > length:
            raise DataError(
                f"{text!r} takes {len(found)} tokens{' with its end' * end} and length is {length}: give "
                "more, or leave it out."
            )
        ids[row, : len(found)] = found
    return torch.from_numpy(ids)
