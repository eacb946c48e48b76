from __future__ import annotations

import dataclasses

import optuna
import pytest
from fakes import NearestSurrogate, grid_problem

from nas.errors import StudyError
from nas.search import OptunaSampler, SurrogateSearch, TwoStage
from nas.search.record.trials import distributions
from nas.strategy import Strategy
from nas.testing import check_strategy

OURS = SurrogateSearch(NearestSurrogate, num_startup=8, batch_size=4)


@pytest.mark.usefixtures("short_evolution")
def test_surrogate_search_keeps_the_contract_and_wastes_nothing() -> None:
    check_strategy(OURS, num_trials=22, never_wastes=True)


@pytest.mark.parametrize("name", ["RandomSampler", "NSGAIISampler", "TPESampler"])
def test_optunas_samplers_by_name_keep_the_contract(name: str) -> None:
    check_strategy(OptunaSampler(name), num_trials=40, exact_resume=False)


@pytest.mark.parametrize("name", ["", "NoSuchSampler", "BaseStudy", "nsgaii", "os"])
def test_an_unknown_sampler_is_refused(name: str) -> None:
    with pytest.raises(StudyError, match="Optuna has no sampler"):
        OptunaSampler(name)


def test_a_sampler_that_stops_optunas_own_loop_is_refused() -> None:
    with pytest.raises(StudyError, match="name RandomSampler"):
        OptunaSampler("BruteForceSampler")


@pytest.mark.parametrize("name", ["BaseSampler", "GridSampler"])
def test_a_sampler_that_can_not_be_made_from_a_seed_is_refused(name: str) -> None:
    with pytest.raises(StudyError, match=name):
        OptunaSampler(name).sampler(grid_problem(), 0)


@pytest.mark.parametrize(
    "strategy",
    [
        OptunaSampler("CmaEsSampler"),
        TwoStage(OptunaSampler("CmaEsSampler"), (("c0",), ("c1", "c2", "c3")), 4),
    ],
)
def test_a_sampler_that_can_not_do_several_objectives_is_refused_when_it_is_made(strategy: Strategy) -> None:
    with pytest.raises(
        StudyError, match="CmaEsSampler can't propose for this study of 2 objectives"
    ) as caught:
        strategy.sampler(grid_problem(), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["CmaEsSampler", "RandomSampler"])
def test_with_one_objective_optunas_samplers_propose_what_they_propose_without_us(name: str) -> None:
    grid = grid_problem()
    problem = dataclasses.replace(grid, objectives=grid.objectives[:1], count=lambda _: {})
    bare = getattr(optuna.samplers, name)(seed=0)
    ours = OptunaSampler(name).sampler(problem, 0)
    first, second = (
        optuna.create_study(sampler=sampler).ask(distributions(problem.space)) for sampler in (ours, bare)
    )
    assert first.params == second.params


@pytest.mark.parametrize("settings", [{"num_startup": 3}, {"batch_size": 0}, {"num_startup": -1}])
def test_settings_out_of_range_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(StudyError):
        SurrogateSearch(NearestSurrogate, **settings)


def test_a_strategy_tells_its_settings() -> None:
    assert repr(OURS) != repr(SurrogateSearch(NearestSurrogate, num_startup=8, batch_size=5))
    assert "0x" not in repr(OURS)
