from __future__ import annotations

import math

import numpy as np
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, create_trial

from nas.objective import Measurement, Objective
from nas.search.models.quality import latest_refits, quality_sentences, surrogate_quality
from nas.search.record.trials import MEASUREMENTS, PREDICTED, PREDICTED_FROM

OBJECTIVES = (Objective("accuracy", "", "maximize"), Objective("macs", "", "minimize"))


def trial(value: float, *predicted: float, spread: float = 0.0, learned: int | None = None) -> FrozenTrial:
    attributes: dict[str, object] = {PREDICTED: {"accuracy": list(predicted)}} if predicted else {}
    if learned is not None:
        attributes[PREDICTED_FROM] = learned
    return create_trial(
        values=[value, 1.0],
        params={"x": 0},
        distributions={"x": IntDistribution(0, 1)},
        user_attrs={MEASUREMENTS: {"accuracy": Measurement(value, spread, "", "", 1).to_json()}},
        system_attrs=attributes,
    )


def test_predictions_that_come_true_are_perfect() -> None:
    (quality,) = surrogate_quality(OBJECTIVES, [trial(v, v, v + 1, v - 1) for v in (1.0, 2.0, 4.0)])
    assert (quality.objective, quality.num_trials) == ("accuracy", 3)
    assert (quality.kendall_tau, quality.spearman, quality.rmse, quality.within) == (1.0, 1.0, 0.0, 1.0)


def test_what_is_wrong_shows() -> None:
    trials = [trial(1.0, 3.0, 3.5, 2.5), trial(2.0, 2.0, 2.5, 1.5), trial(3.0, 1.0, 1.5, 0.5)]
    (quality,) = surrogate_quality(OBJECTIVES, trials)
    assert quality.kendall_tau == -1.0
    assert quality.rmse == pytest.approx(math.sqrt(8 / 3))
    assert quality.within == pytest.approx(1 / 3)
    assert "33%" in str(quality)


def test_trials_without_a_prediction_say_nothing() -> None:
    trials = [trial(v, v, v, v) for v in (1.0, 2.0)]
    assert surrogate_quality(OBJECTIVES, [*trials, trial(9.0)]) == []


def test_equal_values_have_no_rank() -> None:
    (quality,) = surrogate_quality(OBJECTIVES, [trial(1.0, 1.0, 2.0, 0.0)] * 4)
    assert math.isnan(quality.kendall_tau)
    assert quality.rmse == 0.0


def numbered(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    for number, one in enumerate(trials):
        one.number = number
    return trials


@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
def test_two_values_in_three_are_within_a_deviation_however_noisy_the_objective(noise: float) -> None:
    rng = np.random.default_rng(0)
    found = rng.normal(0, 0.5, 2000) + noise * rng.normal(size=2000)
    (quality,) = surrogate_quality(OBJECTIVES, [trial(v, 0.0, 0.5, -0.5, spread=noise) for v in found])
    assert quality.within == pytest.approx(0.68, abs=0.03)


def test_the_latest_refits_are_told_apart_oldest_first() -> None:
    """Refits after every fourth trial: three of them make a group, what is left over of the first two none."""
    trials = [trial(float(n), 1.0, 2.0, 0.0, learned=12 + n // 4 * 4) for n in range(44)]
    groups = latest_refits(numbered([trial(1.0), trial(2.0, 1.0, 2.0, 0.0), *trials])[::-1])
    assert [[t.values[0] for t in group] for group in groups] == [
        [float(n) for n in range(first, first + 12)] for first in (8, 20, 32)
    ]


def test_refits_that_have_few_trials_yet_are_not_judged() -> None:
    assert latest_refits([]) == []
    assert latest_refits(numbered([trial(1.0, 1.0, 2.0, 0.0, learned=12)] * 9)) == []


def test_a_surrogate_that_gets_better_shows() -> None:
    told = [trial(float(n), -float(n), 1.0, -1.0, learned=12) for n in range(10)]
    told += [trial(float(n), float(n), n + 1.0, n - 1.0, learned=22) for n in range(10)]
    (sentence,) = quality_sentences(OBJECTIVES, numbered(told))
    assert sentence.startswith("surrogate, accuracy: tau ")
    assert sentence.endswith(
        "(20 trials); refit on 12 trials: tau -1.00, RMSE 10.7, 20% within (10 trials); "
        "refit on 22 trials: tau 1.00, RMSE 0, 100% within (10 trials)"
    )


def test_values_that_another_program_told_have_no_spread() -> None:
    told = [trial(v, v, v, v) for v in (1.0, 2.0, 4.0)]
    for one in told:
        del one.user_attrs[MEASUREMENTS]
    assert surrogate_quality(OBJECTIVES, told)[0].within == 1.0
