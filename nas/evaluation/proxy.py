"""Judging candidates on a part of the search split, as large as their ranking needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor

from nas.errors import ObjectiveError, StudyError
from nas.protocols import Bench, Candidate, MeasuredObjective, Split


@final
@dataclass(frozen=True)
class ProxySubset:
    """Candidates are judged on a stratified part of the search split (Xiong 2023).

    After the supernet's training some architectures, spread over the space's sizes, are judged on the
    whole search split and on parts of it, several of each size. The smallest size is taken of which all
    but a tenth of the parts reach ``min_tau``: Kendall's tau with the ranking by the whole. Where no size
    does, the whole split is used. Winners are always judged on the whole.

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
        share: Of the search split.
        images: In a part.
        mean_tau: Kendall's tau with the ranking by the whole split, mean over the parts.
        low_tau: All but a tenth of the parts reach it.
    """

    share: float
    images: int
    mean_tau: float
    low_tau: float


def proxy_sizes(
    settings: ProxySubset, objective: MeasuredObjective, logits: Sequence[Tensor], bench: Bench, seed: int
) -> list[ProxySize]:
    """Return how well parts of each size rank, smallest first.

    A part is contained in the whole, so even a useless ranking by the whole would be met to some extent:
    tau here says what the part loses, not whether the whole is right.

    Args:
        settings: Sizes and number of parts.
        objective: The quality.
        logits: Of each architecture for the whole split of ``bench``.
        bench: How to measure.
        seed: Of the parts.

    Raises:
        ObjectiveError: all architectures are equally good, so nothing can be ranked.
    """
    candidates = [_Known(rows) for rows in logits]
    whole = [m.value for m in objective.measure(candidates, bench)]
    if len(set(whole)) < 2:
        raise ObjectiveError(
            f"all {len(whole)} architectures have the same {objective.objective.name} ({whole[0]}) on the search "
            "split, so no part of it can be chosen: train the supernet for longer, or leave Study.proxy out."
        )
    sizes = []
    for share in sorted(settings.sizes):
        parts = [subset_rows(bench.split, share, seed + draw) for draw in range(settings.draws)]
        taus = [_tau(whole, _values(objective, logits, bench, rows)) for rows in parts]
        sizes.append(ProxySize(share, len(parts[0]), float(np.mean(taus)), float(np.percentile(taus, 10))))
    return sizes


def chosen_size(settings: ProxySubset, sizes: Sequence[ProxySize]) -> ProxySize | None:
    """Return the smallest size that ranks well enough; None if none does."""
    return next((size for size in sizes if size.low_tau >= settings.min_tau), None)


def subset_rows(split: Split, share: float, seed: int) -> Tensor:
    """Return the sorted rows of a stratified part of a split, at least one of each class."""
    labels, rng = split.labels.cpu().numpy(), np.random.default_rng(seed)
    classes, turn = np.unique(labels), np.zeros(len(labels))
    for label in classes:  # the rows of each class come at equal distances, the first at once
        rows = rng.permutation(np.flatnonzero(labels == label))
        turn[rows[1:]] = (np.arange(1, len(rows)) + rng.random()) / len(rows)
    size = max(round(share * len(labels)), len(classes))
    return torch.from_numpy(np.sort(np.argsort(turn, kind="stable")[:size]))


@final
class _Known:
    """A candidate whose logits are known, asked for in order."""

    def __init__(self, logits: Tensor) -> None:
        self._logits = logits
        self._begin = 0

    def predict(self, images: Tensor) -> Tensor:
        begin, self._begin = self._begin, (self._begin + len(images)) % len(self._logits)
        return self._logits[begin : begin + len(images)]

    @property
    def onnx_model(self) -> bytes:
        raise ObjectiveError(
            "Study.proxy needs a quality that is measured on predictions, not on an ONNX model."
        )

    @property
    def image_shape(self) -> tuple[int, ...]:
        raise ObjectiveError("Study.proxy needs a quality that is measured on predictions alone.")


def _values(
    objective: MeasuredObjective, logits: Sequence[Tensor], bench: Bench, rows: Tensor
) -> list[float]:
    part = Bench(bench.split.part(rows), bench.thorough, bench.calibration)
    candidates: Iterator[Candidate] = (_Known(known[rows]) for known in logits)
    return [measurement.value for measurement in objective.measure(list(candidates), part)]


def _tau(whole: list[float], part: list[float]) -> float:
    return float(kendalltau(whole, part).statistic) if len(set(part)) > 1 else 0.0
