from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from nas import Accuracy, ProxySubset
from nas.errors import ObjectiveError, StudyError
from nas.evaluation.proxy import choose_size, proxy_sizes, subset_rows
from nas.evaluation.quality.measuring import statistics_of
from nas.objective import Objective
from nas.space import FloatArray
from nas.splits import Split


def split(count: int = 400) -> Split:
    return Split(torch.zeros(count, 1, 1, 1), torch.arange(count) % 4)


def networks(rates: list[float], labels: Tensor) -> list[FloatArray]:
    """Return statistics of networks that are right with these probabilities."""
    rng = np.random.default_rng(0)
    found = []
    for rate in rates:
        right = torch.from_numpy(rng.random(len(labels)) < rate)
        logits = torch.nn.functional.one_hot(torch.where(right, labels, (labels + 1) % 4), 4).float()
        found.append(statistics_of(Accuracy(), logits, labels))
    return found


def test_larger_parts_rank_better_and_the_smallest_good_one_is_chosen() -> None:
    data = split()
    settings = ProxySubset(sizes=(0.5, 0.05), min_tau=0.7)
    sizes = proxy_sizes(
        settings, Accuracy(), networks(list(np.linspace(0.4, 0.9, 12)), data.targets), data, 0
    )
    assert [size.items for size in sizes] == [20, 200]
    assert sizes[0].mean_tau < sizes[1].mean_tau
    assert all(size.low_tau <= size.mean_tau for size in sizes)
    assert choose_size(settings, sizes) == sizes[1]
    assert choose_size(ProxySubset(min_tau=-1.0), sizes) == sizes[0]
    assert choose_size(ProxySubset(min_tau=1.0), sizes) is None


def test_values_of_a_part_are_those_of_its_rows() -> None:
    """Networks that differ in the last rows alone rank alike in a part only if these are in it."""
    data = split(40)
    statistics = networks([1.0, 1.0, 1.0], data.targets)
    for number, known in enumerate(statistics):
        known[40 - 8 * (number + 1) :] = 0.0
    (size,) = proxy_sizes(ProxySubset(sizes=(0.9,), draws=5), Accuracy(), statistics, data, 0)
    assert size.mean_tau == 1.0


def test_a_network_without_a_finite_quality_changes_nothing() -> None:
    data, settings = split(40), ProxySubset(sizes=(0.5,), draws=4)
    known = networks([0.2, 0.5, 0.9], data.targets)
    expected = proxy_sizes(settings, Accuracy(), known, data, 0)
    broken = np.full_like(known[0], np.nan)
    assert proxy_sizes(settings, Accuracy(), [*known, broken], data, 0) == expected
    with pytest.raises(ObjectiveError, match="all 2 architectures have no finite accuracy"):
        proxy_sizes(settings, Accuracy(), [broken, broken], data, 0)


@dataclass(frozen=True)
class OfTheWhole:
    """The accuracy of a whole split; NaN for a part."""

    objective: Objective = Accuracy().objective

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return Accuracy().statistics(outputs, targets)

    def value(self, statistics: FloatArray) -> float:
        return float(statistics.mean()) if len(statistics) >= 39 else np.nan


def test_a_part_that_says_no_quality_ranks_nothing() -> None:
    data, settings = split(40), ProxySubset(sizes=(0.5,), draws=2)
    (size,) = proxy_sizes(settings, OfTheWhole(), networks([0.2, 0.5, 0.9], data.targets), data, 0)
    assert (size.mean_tau, size.low_tau) == (0.0, 0.0)


def test_parts_are_stratified_sorted_and_the_same_again() -> None:
    data = split()
    rows = subset_rows(data, 0.1, seed=3)
    assert torch.equal(rows, rows.sort().values)
    assert torch.bincount(data.targets[rows]).tolist() == [10] * 4
    assert torch.equal(rows, subset_rows(data, 0.1, seed=3))
    assert not torch.equal(rows, subset_rows(data, 0.1, seed=4))
    assert torch.bincount(data.targets[subset_rows(data, 1e-6, seed=0)]).tolist() == [1] * 4


@pytest.mark.parametrize("labels", [[0] * 10 + [1] * 10 + [2], [0] * 980 + [*range(1, 11)] * 2])
def test_a_part_holds_rare_classes_too(labels: list[int]) -> None:
    data = Split(torch.zeros(len(labels), 1, 1, 1), torch.tensor(labels))
    counts = torch.bincount(data.targets[subset_rows(data, 0.05, seed=0)], minlength=max(labels) + 1)
    assert counts[1:].tolist() == [1] * max(labels)
    assert counts.sum() == max(round(0.05 * len(labels)), len(counts))


def test_a_part_holds_its_share_of_every_class() -> None:
    labels = [0] * 600 + [1] * 300 + [2] * 60 + [3] * 6
    data = Split(torch.zeros(len(labels), 1, 1, 1), torch.tensor(labels))
    rows = subset_rows(data, 0.5, seed=0)
    assert len(rows) == 483
    for label, expected in enumerate([300, 150, 30, 3]):
        assert abs(int((data.targets[rows] == label).sum()) - expected) <= 1


def test_equal_networks_can_not_be_ranked() -> None:
    data = split()
    with pytest.raises(ObjectiveError, match="no part of it can be chosen"):
        proxy_sizes(ProxySubset(), Accuracy(), networks([1.0, 1.0], data.targets), data, 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"sizes": ()},
        {"sizes": (1.0,)},
        {"sizes": (0.0, 0.5)},
        {"min_tau": 1.1},
        {"architectures": 2},
        {"draws": 0},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(StudyError):
        ProxySubset(**settings)  # type: ignore[arg-type]
