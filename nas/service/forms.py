"""The form that starts a study: what it holds at first, what was typed into it, and what that changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from nas.service.models import NewRun, StudyModel
from nas.service.numbers import number, whole_number
from nas.service.problems import Problem, make_refusal
from nas.service.words import label

T = TypeVar("T")
_LIMIT = "limit."
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class StudyForm(BaseModel):
    """What is typed in the form of a study; the limit of a quantity is a further field, ``limit.NAME``."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str]
    evaluations: str = ""
    seed: str = ""
    device: str = ""
    objectives: list[str] = []
    prior: list[str] = []

    @classmethod
    def of(cls, study: StudyModel) -> StudyForm:
        """Return the form of a study in which nothing is changed."""
        texts = {name: str(value) for name, value in study.defaults if value is not None}
        limits = {
            f"{_LIMIT}{q.name}": str(q.at_most).removesuffix(".0")  # most are counts
            for q in study.constraints
            if q.at_most is not None
        }
        return cls.model_validate({"objectives": [o.name for o in study.objectives], **texts, **limits})


def refuse_other_bodies(request: Request) -> None:
    """Refuse a body that is no form, which would be read as an empty one; a dependency of routes that take a form.

    Raises:
        Problem: it is none (400).
    """
    kind = request.headers.get("content-type", _FORMS[0]).partition(";")[0]
    if kind.strip().lower() not in _FORMS:
        said = "The request is no form of this page: load it and try again."
        raise Problem(400, "unreadable-request", said)


def read_form(study: StudyModel, form: StudyForm) -> NewRun:
    """Return what a form changes in a study: what it leaves as it is isn't a change.

    Raises:
        Problem: something is no number, or not in its range (422).
    """
    defaults, names = study.defaults, [o.name for o in study.objectives]
    evaluations = _read("evaluations", form.evaluations, whole_number, defaults.evaluations)
    seed = _read("seed", form.seed, whole_number, defaults.seed)
    kept = names if "objectives" not in study.changeable else [*names[:1], *form.objectives]
    typed = form.__pydantic_extra__
    limits = {
        q.name: _read(q.name, typed.get(f"{_LIMIT}{q.name}", ""), number, q.at_most)
        for q in study.constraints
    }
    try:
        return NewRun(
            study=study.name,
            evaluations=evaluations,
            seed=seed,
            device=form.device if form.device not in ("", defaults.device) else None,
            objectives=kept if set(kept) != set(names) else None,
            constraints={name: limit for name, limit in limits.items() if limit is not None},
            prior=form.prior,
        )
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise _make_refusal(str(first["loc"][0]), f"not valid: {first['msg'].lower()}") from None


def _read(name: str, text: str, read: Callable[[str], T], default: T | None) -> T | None:
    """Return the number that was typed; None where nothing was, or what the study has anyway."""
    try:
        found = read(text) if text else None
    except ValueError as error:
        raise _make_refusal(name, f"{text[:40]!r}: {error}") from None
    return None if found == default else found


def _make_refusal(name: str, fault: str) -> Problem:
    words = label(name)
    return make_refusal(f"{words[:1].upper()}{words[1:]} is {fault}.")
