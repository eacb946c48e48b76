from __future__ import annotations

from typing import Any

import pytest
from fakes import tiny_study

from nas import Constraint, NumParams
from nas.errors import StudyError
from nas.study import change_study


def test_what_a_user_changes() -> None:
    study = tiny_study(constraints=(Constraint(NumParams(), 500),))
    made = change_study(
        study,
        evaluations=9,
        seed=4,
        objectives=["accuracy"],
        constraints={"num_params": 100, "macs": 1e6},
    )
    assert (made.evaluations, made.seed) == (9, 4)
    assert [o.objective.name for o in made.objectives] == ["accuracy"]
    limits = {c.quantity.objective.name: c.at_most for c in made.constraints}
    assert limits == {"num_params": 100, "macs": 1e6}
    assert change_study(study) == study


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ["num_params"]}, "'accuracy' must stay"),
        ({"objectives": ["accuracy", "nosuch"]}, "no objective 'nosuch'"),
        ({"objectives": ["accuracy", "accuracy"]}, "name each once"),
        ({"constraints": {"accuracy": 1.0}}, "no quantity 'accuracy'"),
        ({"evaluations": 0}, "at least 1"),
    ],
)
def test_a_change_that_makes_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        change_study(tiny_study(), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluations": 3},
        {"training_device": "cuda"},
        {"objectives": ["accuracy"]},
        {"constraints": {"macs": 1.0}},
    ],
)
def test_what_a_study_doesnt_let_be_changed(changes: dict[str, Any]) -> None:
    study = tiny_study(changeable=("seed",))
    assert change_study(study, seed=3).seed == 3
    with pytest.raises(StudyError, match=r"what may be: seed"):
        change_study(study, **changes)


def test_only_known_aspects_are_changeable() -> None:
    with pytest.raises(StudyError, match="choose among"):
        tiny_study(changeable=("weather",))
