"""Candidates are evaluated on a part of the search split, as large as their ranking needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor

from nas.errors import ObjectiveError, StudyError
from nas.space import FloatArray
from nas.splits import Split
from nas.task import Quality


@final
@dataclass(frozen=True)
class ProxySubset:
    """Candidates are evaluated on a stratified part of the search split (Xiong 2023).

    After the supernet's training some architectures, spread over the space's sizes, are evaluated on the
    whole search split and on parts of it, several of each size. The smallest size is taken of which all
    but a tenth of the parts reach ``min_tau``: Kendall's tau with the ranking by the whole. Where no size
    does, the whole split is used. Winners are always evaluated on the whole.

    Args:
        sizes: Parts of the split to try, each in (0, 1).
        min_tau: How well a part must rank.
        architectures: How many to try it with.
        draws: Parts of each size.

    Raises:
        StudyError: a number is out of range.
    """

    sizes: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    min_tau: float = 0.8
    architectures: int = 24
    draws: int = 20

    def __post_init__(self) -> None:
        if not self.sizes or not all(0 < size < 1 for size in self.sizes):
            raise StudyError(
                f"ProxySubset has sizes={self.sizes}: parts of the split in (0, 1) are expected."
            )
        if not -1 <= self.min_tau <= 1 or self.architectures < 3 or self.draws < 1:
            raise StudyError(
                f"ProxySubset has min_tau={self.min_tau}, architectures={self.architectures} and "
                f"draws={self.draws}: a tau, at least 3 and at least 1 are expected."
            )


@final
@dataclass(frozen=True)
class ProxySize:
    """How well parts of one size rank.

    Args:
        share: Share of the search split.
        items: In a part.
        mean_tau: Kendall's tau with the ranking by the whole split, mean over the parts.
        low_tau: All but a tenth of the parts reach it.
    """

    share: float
    items: int
    mean_tau: float
    low_tau: float


def proxy_sizes(
    settings: ProxySubset, quality: Quality, statistics: Sequence[FloatArray], split: Split, seed: int
) -> list[ProxySize]:
    """Return how well parts of each size rank, smallest first.

    A part is contained in the whole, so even a useless ranking by the whole would be met to some extent:
    tau here says what the part loses, not whether the whole is right. An architecture without a finite quality, which
    fails in the search, is left out; a part that gives another one none has a tau of 0.

    Args:
        settings: Sizes and number of parts.
        quality: What is ranked by.
        statistics: Statistics of each architecture, ``(n, k)`` for the whole split.
        split: The whole.
        seed: Seed of the parts.

    Raises:
        ObjectiveError: all architectures are equally good, so nothing can be ranked.
    """
    num_given = len(statistics)
    finite = [known for known in statistics if np.isfinite(known).all()]
    pairs = [(value, known) for known in finite if np.isfinite(value := quality.value(known))]
    whole, statistics = [value for value, _ in pairs], [known for _, known in pairs]
    if len(set(whole)) < 2:
        name = quality.objective.name
        same = f"the same {name} ({whole[0]})" if whole else f"no finite {name}"
        raise ObjectiveError(
            f"all {len(whole) or num_given} architectures have {same} on the search split, so no part of it can be "
            "chosen: train the supernet for longer, or leave Study.proxy out."
        )
    sizes = []
    for share in sorted(settings.sizes):
        parts = [subset_rows(split, share, seed + draw).numpy() for draw in range(settings.draws)]
        taus = [_tau(whole, [quality.value(known[rows]) for known in statistics]) for rows in parts]
        sizes.append(ProxySize(share, len(parts[0]), float(np.mean(taus)), float(np.percentile(taus, 10))))
    return sizes


def choose_size(settings: ProxySubset, sizes: Sequence[ProxySize]) -> ProxySize | None:
    """Return the smallest size that ranks well enough; None if none does."""
    return next((size for size in sizes if size.low_tau >= settings.min_tau), None)


def subset_rows(split: Split, share: float, seed: int) -> Tensor:
    """Return the sorted rows of a part of a split, at least one.

    Where targets are one whole number for each item, every number is there in proportion, and at least once.
    """
    targets, rng = split.targets.cpu(), np.random.default_rng(seed)
    are_strata = targets.ndim == 1 and not targets.is_floating_point()
    strata = targets.numpy() if are_strata else np.zeros(len(targets), dtype=np.int64)
    known, turn = np.unique(strata), np.zeros(len(strata))
    for stratum in known:  # the rows of each come at equal distances, the first at once
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        turn[rows[1:]] = (np.arange(1, len(rows)) + rng.random()) / len(rows)
    size = max(round(share * len(strata)), len(known))
    return torch.from_numpy(np.sort(np.argsort(turn, kind="stable")[:size]))


def _tau(whole: list[float], part: list[float]) -> float:
    is_ranked = len(set(part)) > 1 and np.isfinite(part).all()
    return float(kendalltau(whole, part).statistic) if is_ranked else 0.0
