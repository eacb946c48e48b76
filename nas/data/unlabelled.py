"""Data of which some items have no labels, for pre-training."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch

from nas.checks import check_integers, check_kind
from nas.data.selection import check_seed, choose_stratified
from nas.errors import DataError
from nas.files import digest
from nas.inputs import Inputs, as_tuple
from nas.splits import DataSource, Split, Splits


@final
@dataclass(frozen=True)
class FewLabels:
    """A data source of which ``labels`` items of the train split keep their labels.

    The whole train split, without labels, is what pre-training learns from, unless the source names items for it.
    Search and test stay as they are, and so do the vocabulary and the statistics that images are normalised with, which
    need no labels.

    Args:
        data: Any data source.
        labels: How many items keep theirs; of each class in proportion, where an item has a class.
        seed: Seed of the choice.

    Raises:
        DataError: a number is out of range.
    """

    data: DataSource
    labels: int
    seed: int = 0

    def __post_init__(self) -> None:
        check_kind("FewLabels", "data", self.data, DataSource, "an instance with load(), such as Digits(),")
        check_integers(self, "labels")
        check_seed(self.seed)
        if self.labels < 1:
            raise DataError(f"FewLabels has labels={self.labels}: 1 or more are needed.")

    def load(self) -> Splits:
        """Return the splits.

        Raises:
            DataError: there are fewer items, or not one of each class could keep its label.
        """
        splits = self.data.load()
        train = splits.train
        if self.labels > len(train):
            raise DataError(
                f"FewLabels has labels={self.labels} and the train split of {splits.name} {len(train)} items: ask for "
                "no more than there are."
            )
        rows, targets = np.arange(len(train)), train.targets.numpy()
        if targets.ndim <= 2 and not train.targets.is_floating_point():
            kept = choose_stratified(rows, targets, self.labels, self.seed)
        else:
            kept = np.sort(np.random.default_rng(self.seed).choice(rows, self.labels, replace=False))
        return replace(
            splits,
            name=f"{splits.name}, {self.labels:,} of {len(train):,} labelled",
            train=train.subset(torch.from_numpy(kept)),
            unlabelled=splits.unlabelled
            or replace(train, targets=torch.zeros(len(train), dtype=torch.int64)),
            fingerprint=digest([splits.fingerprint, kept.tolist()]),
        )


def add_unlabelled(splits: Splits, inputs: Inputs) -> Splits:
    """Return splits whose pre-training learns from the items of train and from others, of which no labels are known.

    Args:
        splits: As a data source loads them.
        inputs: ``(n, *)`` as ``splits.train.inputs`` holds them: bytes, or floats normalised alike, or ids of the same
            vocabulary. None of the search and test splits may be among them.

    Raises:
        DataError: they are of another form.
    """
    held, more = as_tuple(splits.train.inputs), as_tuple(inputs)
    wanted, found = ([(t.dtype, tuple(t.shape[1:])) for t in tensors] for tensors in (held, more))
    if wanted != found:
        raise DataError(
            f"items without labels for {splits.name} are of the types and shapes {found}: {wanted} is expected, as "
            "the train split holds them."
        )
    joined = tuple(torch.cat(pair) for pair in zip(held, more, strict=True))
    seen = [hashlib.sha256(tensor.contiguous().numpy().data).hexdigest() for tensor in more]
    train = splits.train
    return replace(
        splits,
        unlabelled=Split(
            joined if isinstance(inputs, tuple) else joined[0],
            torch.zeros(len(joined[0]), dtype=torch.int64),
            train.mean,
            train.std,
        ),
        fingerprint=digest([splits.fingerprint, *seen]),
    )
