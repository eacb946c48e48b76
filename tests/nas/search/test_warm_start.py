from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import optuna
import pytest
from fakes import NearestSurrogate, grid_evaluate, grid_problem

from nas.choices import Option
from nas.errors import StudyError
from nas.search import OptunaSampler, SurrogateSearch
from nas.search.loop import search
from nas.search.record.trials import list_paid_trials
from nas.search.warm_start import check, queue, read_architectures
from nas.strategy import Problem

KNOWN: list[Mapping[str, Option]] = [
    {"c0": 3, "c1": 2, "c2": 1, "c3": 0},
    {"c0": 1, "c1": 1, "c2": 1, "c3": 1},
]
OURS = SurrogateSearch(NearestSurrogate, num_startup=4, batch_size=4)


def searched(problem: Problem, strategy: SurrogateSearch | OptunaSampler) -> optuna.Study:
    study = optuna.create_study(
        directions=[o.direction for o in problem.objectives], sampler=strategy.sampler(problem, 0)
    )
    sentences: list[str] = []
    queue(study, problem, KNOWN, sentences.append)
    queue(study, problem, KNOWN, sentences.append)  # a run that was killed begins again
    assert not sentences
    search(study, problem, lambda a: grid_evaluate(problem, a), evaluations=7, on_trial=lambda _: None)
    queue(study, problem, KNOWN, sentences.append)
    return study


@pytest.mark.parametrize(
    "strategy", [OURS, *(OptunaSampler(name) for name in ("RandomSampler", "NSGAIISampler", "TPESampler"))]
)
def test_known_architectures_are_evaluated_first_once_and_with_any_sampler(
    strategy: SurrogateSearch | OptunaSampler,
) -> None:
    study = searched(grid_problem(), strategy)
    assert [t.params for t in study.trials[:2]] == KNOWN
    assert len(list_paid_trials(study)) == len(study.trials) == 7


def test_what_exceeds_a_constraint_is_left_out_with_a_sentence() -> None:
    problem = grid_problem(at_most=5)
    study = optuna.create_study(directions=["maximize", "minimize"])
    sentences: list[str] = []
    queue(study, problem, KNOWN, sentences.append)
    assert len(study.trials) == 1
    assert sentences == ["1 of 2 architectures of the warm start exceed the constraints and are left out."]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"c0": 3}, "missing"),
        ({**KNOWN[0], "c0": 99}, "99"),
        ({**KNOWN[0], "width": 3}, "no choice of this space"),
        ({**KNOWN[0], "c0": "3"}, "'3'"),
    ],
)
def test_what_is_not_of_the_space_is_refused_in_a_sentence(
    options: Mapping[str, Option], message: str
) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        check(grid_problem(), [KNOWN[1], options])
    assert "architecture 2 of the warm start" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_front_and_a_plain_list_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    path.write_text(json.dumps([{"trial": 3, "values": {"quality": 1.0}, "choices": row} for row in KNOWN]))
    assert list(read_architectures(path)) == KNOWN
    path.write_text(json.dumps(KNOWN))
    assert list(read_architectures(path)) == KNOWN


@pytest.mark.parametrize("content", ['{"a": 1}', "[1, 2]", '[{"choices": [1]}]', '"x"'])
def test_a_file_of_something_else_is_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "front.json").write_text(content)
    with pytest.raises(StudyError, match="no list of architectures") as caught:
        read_architectures(tmp_path / "front.json")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_json_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "front.json").write_text("[{")
    for name in ("front.json", "nothing.json"):
        with pytest.raises(StudyError, match="can't be read") as caught:
            read_architectures(tmp_path / name)
        assert "\n" not in str(caught.value)
