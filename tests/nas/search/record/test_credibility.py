from __future__ import annotations

import numpy as np
import pytest
from optuna.trial import create_trial

from nas.objective import Objective
from nas.search.record.credibility import are_credible, credible, credible_front, doubts
from nas.search.record.reference_box import ReferenceBox
from nas.space import FloatArray


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_a_value_too_good_to_be_true_is_taken_for_the_worst(size: float) -> None:
    usual = size * np.random.default_rng(0).random((20, 2))
    assert (credible(usual) == usual).all()
    assert (credible(-usual) == -usual).all()
    overflown = usual.copy()
    overflown[3, 0] = -1e12
    expected = usual.copy()
    expected[3, 0] = np.delete(usual[:, 0], 3).max()
    assert (credible(overflown) == expected).all()


def test_the_first_that_learns_among_failures_is_credible() -> None:
    chance = np.full((20, 1), -0.1)  # accuracies, to be minimised
    chance[7] = -0.99
    assert (credible(chance) == chance).all()
    zeros = np.zeros((20, 1))
    zeros[7] = -1.0
    assert (credible(zeros) == zeros).all()


@pytest.mark.parametrize(
    ("costs", "bogus"),
    [
        ([0.1] * 7 + [-1e12] * 3, 3),
        ([0.1] * 5 + [-1e12] * 5, 5),
        ([-0.5, -1e12], 1),
        ([1.0, 1.1, -1e12], 1),
        ([-1e12], 0),
        ([0.0] * 9 + [-1e12], 1),
        ([0.3, 0.2, 0.4, -999.0], 1),  # none else is negative
        ([0.3, 0.2, 0.4, -0.9], 0),
        ([-0.3, -0.2, -0.4, -999.0], 0),  # a rate that is maximised
    ],
    ids=str,
)
def test_up_to_half_of_the_values_may_be_too_good_to_be_true(costs: list[float], bogus: int) -> None:
    column = np.array(costs)[:, None]
    assert are_credible(column).tolist() == [True] * (len(costs) - bogus) + [False] * bogus
    assert (credible(column)[len(costs) - bogus :] == max(costs)).all()


def draws(rng: np.random.Generator, n: int) -> dict[str, FloatArray]:
    some = rng.random(n) < rng.random()
    return {
        "normal": rng.normal(size=n),
        "large": 1e9 * rng.normal(size=n),
        "log-normal": rng.lognormal(0.0, 3.0, n),
        "heavy tails": rng.standard_t(2.0, n),
        "a constant": np.full(n, 0.1),
        "two kinds": np.where(some, 0.9, 0.1) + 0.01 * rng.normal(size=n),
        "ties at the worst": np.where(some, 0.0, 1e7 * rng.random(n)),
        "rounding and a few that learn": 1e-17 * rng.normal(size=n) + np.where(some, 0.9, 0.0),
        "three orders": 10 ** rng.uniform(0.0, 3.0, n),
        "counted": np.floor(10 ** rng.uniform(5.0, 11.0, n)),
    }


def test_ordinary_values_are_credible() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 4, 5, 8, 10, 40, 400):
        for _ in range(40):
            for name, values in draws(rng, n).items():
                for column in (values[:, None], -values[:, None]):  # to be minimised, and maximised
                    assert are_credible(column).all(), (name, column)


def test_what_is_too_good_to_be_true_is_on_no_front_and_adds_no_hypervolume() -> None:
    usual = np.stack([np.arange(9.0), np.arange(9.0)[::-1]], axis=1)
    costs = np.concatenate([usual[:4], [[-1e12, 0.0]], usual[4:]])
    assert credible_front(costs, np.zeros(10)).tolist() == [True] * 4 + [False] + [True] * 5
    assert credible_front(costs, np.arange(10.0)[::-1]).tolist() == [False] * 9 + [True]
    assert credible_front(costs[:0], np.zeros(0)).tolist() == []
    box = ReferenceBox.around(usual)
    history = box.history(costs)
    assert history[4] == history[3]
    assert history[:4] + history[5:] == box.history(usual)


def test_doubts_name_the_trials_and_the_objectives() -> None:
    objectives = (Objective("error", "", "minimize"), Objective("rate", "", "maximize"))
    values = [[0.5, 1.0], [0.4, 2.0], [-1e12, 1.0], [0.3, 1.5], [0.5, 1e12], [0.2, 1.0]]
    trials = [create_trial(values=v) for v in values]
    for number, trial in enumerate(trials):
        trial.number = number
    assert doubts(objectives, trials[:2]) == doubts(objectives, []) == []
    assert doubts(objectives, trials[:4]) == [
        "trial 2 has values too good to be true in error and can't be on the front: check what measures that."
    ]
    assert doubts(objectives, trials)[0].startswith(
        "trials 2, 4 have values too good to be true in error, rate and"
    )
