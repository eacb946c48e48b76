from __future__ import annotations

import pytest

from nas.service.forms import StudyForm, read_form
from nas.service.models import StudyModel
from nas.service.problems import Problem

STUDY = StudyModel.model_validate(
    {
        "name": "tiny",
        "title": "",
        "objectives": [
            {"name": "accuracy", "unit": "", "direction": "maximize", "counted": False},
            {"name": "macs", "unit": "", "direction": "minimize", "counted": True},
        ],
        "constraints": [{"name": "macs", "unit": "", "at_most": 5000.0}],
        "defaults": {"evaluations": 6, "seed": 0, "device": "cpu"},
        "changeable": ["evaluations", "seed", "device", "objectives", "constraints"],
        "needs": {},
        "error": None,
    }
)


def changes_of(form: StudyForm) -> dict[str, object]:
    asked = read_form(STUDY, form).model_dump(exclude={"study"}, exclude_none=True)
    return {name: value for name, value in asked.items() if value not in ([], {})}


def test_a_form_that_is_sent_as_it_was_changes_nothing() -> None:
    assert changes_of(StudyForm.of(STUDY)) == {}


@pytest.mark.parametrize(
    ("limit", "text"), [(5000.0, "5000"), (0.1, "0.1"), (1e-7, "1e-07"), (1e22, "1e+22")]
)
def test_a_limit_is_shown_without_digits_that_say_nothing_and_is_read_as_the_same(
    limit: float, text: str
) -> None:
    quantity = STUDY.constraints[0].model_copy(update={"at_most": limit})
    study = STUDY.model_copy(update={"constraints": [quantity]})
    form = StudyForm.of(study)
    assert form.model_dump()["limit.macs"] == text
    assert read_form(study, form).constraints == {}


@pytest.mark.parametrize(
    ("typed", "changes"),
    [
        ({"evaluations": "9"}, {"evaluations": 9}),
        ({"evaluations": "", "limit.macs": ""}, {}),
        ({"device": "cuda:0"}, {"device": "cuda:0"}),
        ({"limit.macs": "5000"}, {}),
        ({"limit.macs": "1e3"}, {"constraints": {"macs": 1000.0}}),
        ({"objectives": []}, {"objectives": ["accuracy"]}),
    ],
)
def test_what_is_typed_is_a_change(typed: dict[str, object], changes: dict[str, object]) -> None:
    form = StudyForm.model_validate(StudyForm.of(STUDY).model_dump() | typed)
    assert changes_of(form) == changes


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"evaluations": "5_000"}, "Evaluations is '5_000': a whole number in digits is expected."),
        ({"seed": "-1"}, "Seed is not valid"),
        ({"limit.macs": "inf"}, "MACs is 'inf': a number in digits is expected."),
    ],
)
def test_what_is_no_number_is_said_by_its_name(typed: dict[str, str], said: str) -> None:
    with pytest.raises(Problem, match=said):
        read_form(STUDY, StudyForm.model_validate(typed))
