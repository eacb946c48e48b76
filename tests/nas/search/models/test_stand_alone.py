"""The second fidelity: results of architectures that were trained on their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import optuna
import pytest
from fakes import grid_evaluate, grid_problem
from scipy.stats import kendalltau

from nas.objective import Measurement
from nas.search import SurrogateSearch
from nas.search.loop import search
from nas.search.models.quality import surrogate_quality
from nas.search.models.stand_alone import TwoFidelities, expect_alone, keep_stand_alone, stand_alone_values
from nas.search.record.trials import complete_trials, indices_of, predictions_of
from nas.space import Architecture, FloatArray, IntArray
from nas.strategy import Problem
from surrogates.gaussian_process import GaussianProcess

OURS = SurrogateSearch(GaussianProcess, num_startup=8, batch_size=4)


def sample(problem: Problem, count: int) -> tuple[IntArray, FloatArray]:
    """Return architectures and what they reach: a sum over the choices."""
    rows = problem.space.sample_indices(count, np.random.default_rng(1))
    return rows, rows @ np.linspace(1.0, 2.0, rows.shape[1])


@pytest.fixture
def problem() -> Problem:
    return grid_problem(num_choices=8)


def test_a_ranking_that_is_right_stays_as_it_is(problem: Problem) -> None:
    rows, dear = sample(problem, 60)
    model = TwoFidelities(problem.space, rows[:16], 3.0 + 0.5 * dear[:16], dear[:16])
    np.testing.assert_allclose(model.alone(rows, 3.0 + 0.5 * dear), dear, atol=1e-9)


def test_noise_in_the_cheap_costs_is_not_taken_for_a_pattern(problem: Problem) -> None:
    rows, dear = sample(problem, 200)
    cheap = dear + np.random.default_rng(0).normal(scale=0.3 * dear.std(), size=200)
    model = TwoFidelities(problem.space, rows[:16], cheap[:16], dear[:16])
    before = kendalltau(cheap[16:], dear[16:]).statistic
    assert kendalltau(model.alone(rows, cheap)[16:], dear[16:]).statistic > before - 0.03


def test_a_ranking_that_says_nothing_is_replaced(problem: Problem) -> None:
    rows, dear = sample(problem, 200)
    cheap = np.random.default_rng(0).normal(size=200)
    model = TwoFidelities(problem.space, rows[:24], cheap[:24], dear[:24])
    assert kendalltau(model.alone(rows, cheap)[24:], dear[24:]).statistic > 0.5


@pytest.mark.parametrize("value", [1.0, 0.45, 0.9])
@pytest.mark.parametrize("constant", ["cheap", "dear"])
def test_constant_costs_stretch_nothing(problem: Problem, constant: str, value: float) -> None:
    rows, varied = sample(problem, 20)
    same = np.full(20, value)  # nine times 0.45 have a mean that is off by rounding
    cheap, dear = (same, varied) if constant == "cheap" else (varied, same)
    model = TwoFidelities(problem.space, rows[:9], cheap[:9], dear[:9])
    told = model.alone(rows, cheap + 0.1 * np.arange(20))
    assert (dear[:9].min() - np.ptp(varied) <= told).all()
    assert (told <= dear[:9].max() + np.ptp(varied)).all()


def test_results_that_tell_nothing_leave_the_ranking_alone(problem: Problem) -> None:
    rows, _ = sample(problem, 20)
    costs = np.random.default_rng(0).normal(size=(20, 2))
    equal = dict.fromkeys(range(10), 0.5)
    assert expect_alone(problem, equal, np.arange(20), rows, costs) is costs


def test_few_results_teach_nothing(problem: Problem) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    assert keep_stand_alone(study, "fine-tuned", dict.fromkeys(range(7), 0.5)) == 7
    assert stand_alone_values(study) == {}
    rows, _ = sample(problem, 20)
    costs = np.random.default_rng(0).normal(size=(20, 2))
    values = dict.fromkeys(range(100, 120), 0.5)  # of trials that aren't there
    assert expect_alone(problem, values, np.arange(20), rows, costs) is costs


def test_results_add_up_but_not_with_those_of_another_training() -> None:
    study = optuna.create_study()
    keep_stand_alone(study, "fine-tuned", {0: 0.5, 1: 0.6})
    assert keep_stand_alone(study, "fine-tuned", dict.fromkeys(range(1, 9), 0.7)) == 9
    assert stand_alone_values(study) == {0: 0.5, **dict.fromkeys(range(1, 9), 0.7)}
    assert keep_stand_alone(study, "from scratch", dict.fromkeys(range(8), 0.9)) == 8
    assert set(stand_alone_values(study).values()) == {0.9}


def misleading(problem: Problem, architecture: Architecture) -> Mapping[str, Measurement]:
    """Evaluate with a supernet whose quality is a random number."""
    true = grid_evaluate(problem, architecture)
    row = problem.space.indices([architecture])[0]
    noise = float(np.random.default_rng([1, *row]).uniform())
    return {**true, "quality": dataclasses.replace(true["quality"], value=noise)}


def test_a_search_that_knows_them_proposes_by_them(problem: Problem) -> None:
    best = {}
    for knows in (False, True):
        study = optuna.create_study(
            directions=[o.direction for o in problem.objectives], sampler=OURS.sampler(problem, 0)
        )
        for evaluations in (24, 48):
            search(
                study,
                problem,
                lambda a: misleading(problem, a),
                evaluations=evaluations,
                on_trial=lambda _: None,
            )
            trials = complete_trials(study)
            true = [
                grid_evaluate(problem, a)["quality"].value
                for a in problem.space.from_indices(indices_of(problem.space, trials))
            ]
            if knows:
                keep_stand_alone(study, "alone", {t.number: v for t, v in zip(trials, true, strict=True)})
        best[knows] = np.mean(true[24:])
        told = [list(predictions_of(trial)) for trial in trials[24:]]
        assert told == [[] if knows else ["quality"]] * 24
        found = surrogate_quality(problem.objectives, trials)
        assert [f.num_trials for f in found] == [16 if knows else 40]
    assert best[True] > best[False]
