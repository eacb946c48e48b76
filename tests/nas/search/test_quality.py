from __future__ import annotations

import math

import pytest
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, create_trial

from nas.objective import Objective
from nas.search.quality import surrogate_quality
from nas.search.record import PREDICTED

OBJECTIVES = (Objective("accuracy", "", "maximize"), Objective("macs", "", "minimize"))


def trial(value: float, *predicted: float) -> FrozenTrial:
    attributes = {PREDICTED: {"accuracy": list(predicted)}} if predicted else {}
    return create_trial(
        values=[value, 1.0],
        params={"x": 0},
        distributions={"x": IntDistribution(0, 1)},
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
