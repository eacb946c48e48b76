from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import optuna
import pytest
from fakes import NearestSurrogate, grid_evaluate, grid_problem
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, create_trial

from nas.objective import Measurement, Objective
from nas.search import SurrogateSearch
from nas.search.loop import search
from nas.search.models.calibration import surprise_of, widening
from nas.search.record.trials import MEASUREMENTS, PREDICTED, WIDENED, predictions_of, widening_of

OBJECTIVES = (Objective("error", "", "minimize"), Objective("latency", "ms", "minimize"))


def trial(value: float, *predicted: float, spread: float = 0.0, widened: float = 1.0) -> FrozenTrial:
    told = {PREDICTED: {"latency": list(predicted)}, WIDENED: {"latency": widened}} if predicted else {}
    return create_trial(
        values=[0.5, value],
        params={"x": 0},
        distributions={"x": IntDistribution(0, 1)},
        user_attrs={MEASUREMENTS: {"latency": Measurement(value, spread, "ms", "", 1).to_json()}},
        system_attrs=told,
    )


def values(scatter: float, count: int = 200) -> Sequence[float]:
    found: list[float] = np.random.default_rng(0).normal(scale=scatter, size=count).tolist()
    return found


@pytest.mark.parametrize(("scatter", "least", "most"), [(0.3, 0.3, 0.7), (1.0, 0.75, 1.3), (3.0, 1.9, 3.5)])
def test_deviations_move_towards_what_predictions_were_off(scatter: float, least: float, most: float) -> None:
    factors = widening(OBJECTIVES, [trial(v, 0.0, -1.0, 1.0) for v in values(scatter)])
    assert least < factors["latency"] < most
    assert factors["error"] == 1.0, "nothing was predicted of it"


def test_what_was_widened_already_is_not_widened_again() -> None:
    once = widening(OBJECTIVES, [trial(v, 0.0, -1.0, 1.0) for v in values(3.0)])
    later = [trial(v, 0.0, -3.0, 3.0, widened=3.0) for v in values(3.0)]
    assert widening(OBJECTIVES, later)["latency"] == pytest.approx(once["latency"])


@pytest.mark.parametrize(("value", "off"), [(2.0, 2.0), (-2.0, 4.0), (0.0, 0.0)])
def test_a_surprise_is_counted_in_deviations_on_its_side(value: float, off: float) -> None:
    assert surprise_of(trial(value, 0.0, -0.5, 1.0), "latency", 1) == off


def test_what_the_measurement_scatters_is_no_surprise() -> None:
    assert surprise_of(trial(5.0, 0.0, -3.0, 3.0, spread=4.0), "latency", 1) == 1.0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_predictions_change_little(count: int) -> None:
    factor = widening(OBJECTIVES, [trial(100.0, 0.0, -1.0, 1.0)] * count + [trial(1.0)])["latency"]
    assert 1.0 <= factor < 2.5


@pytest.mark.parametrize("deviation", [0.0, 1e-12, 1e12])
def test_a_model_that_is_absurdly_sure_or_unsure_is_changed_within_reason(deviation: float) -> None:
    factor = widening(OBJECTIVES, [trial(v, 0.0, -deviation, deviation) for v in values(1.0)])["latency"]
    assert 0.1 <= factor <= 10.0


def test_the_search_keeps_what_it_widened_by_and_goes_by_the_latest() -> None:
    problem = grid_problem(num_choices=8)
    sampler = SurrogateSearch(NearestSurrogate, num_startup=6).sampler(problem, 0)
    study = optuna.create_study(directions=[o.direction for o in problem.objectives], sampler=sampler)
    search(study, problem, partial(grid_evaluate, problem), evaluations=26, on_trial=lambda _: None)
    predicted = [t for t in study.trials if predictions_of(t)]
    assert [set(widening_of(t)) for t in predicted] == [set(predictions_of(t)) for t in predicted]
    assert len({widening_of(t)["quality"] for t in predicted}) > 1
