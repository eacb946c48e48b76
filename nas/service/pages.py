"""The web page: signing in, the studies, the list of runs, and what starts or stops one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError

from nas.service import run_data, run_pages
from nas.service.access import Runner, access_of, reader
from nas.service.api import Service, TheAction, TheRun
from nas.service.middleware import redirect
from nas.service.models import DeviceModel, NewRun, StudyModel
from nas.service.numbers import Whole, number, whole_number
from nas.service.problems import Problem
from nas.service.rendering import Form, Posted, field, page
from nas.service.runs import describe_run
from nas.service.words import label, now_line

_RUNS_PER_PAGE = 20
_LIMIT = "limit."

router = APIRouter(include_in_schema=False, dependencies=[Depends(reader)])
open_router = APIRouter(include_in_schema=False)
"""What may be seen by whoever isn't signed in."""


@router.get("/")
def root(request: Request, service: Service) -> Response:
    """Lead to the runs; to the studies while there are none."""
    there = "/runs" if service.store.runs(before=None, limit=1) else "/studies"
    return redirect(request, there, 307)


@open_router.get("/login")
def login(request: Request, next: Annotated[str, Query(max_length=300)] = "/") -> Response:
    """Show the form to sign in, or go on where somebody is signed in."""
    if access_of(request).visitor(request) is not None:
        return redirect(request, _inside(next))
    return _form_to_sign_in(request, _inside(next))


@open_router.post("/login")
def sign_in(request: Request, form: Posted) -> Response:
    """Exchange the token for a cookie."""
    there = _inside(field(form, "next"))
    answer = redirect(request, there)
    try:
        access_of(request).sign_in(request, answer, field(form, "token"))
    except Problem as problem:
        return _form_to_sign_in(request, there, problem)
    return answer


@open_router.post("/logout")
def sign_out(request: Request) -> Response:
    """End the sign-in."""
    answer = redirect(request, "/login")
    access_of(request).sign_out(request, answer)
    return answer


@router.get("/studies")
def studies(request: Request, service: Service) -> Response:
    """Show the catalogue."""
    return page(request, "studies.html", here="Studies", studies=service.catalogue())


@router.get("/devices")
def devices(request: Request, service: Service) -> Response:
    """Show how the devices are."""
    found = [DeviceModel.of(device) for device in service.boards.states()]
    return page(request, "devices.html", here="Devices", devices=found)


@router.get("/studies/{study}")
def start_form(request: Request, study: str, service: Service) -> Response:
    """Show what may be changed in a study, and the button that starts it."""
    return _start_page(request, service, service.study(study))


@router.post("/studies/{study}/runs")
def start(request: Request, token: Runner, form: Posted, study: str, service: Service) -> Response:
    """Start a study and lead to its run."""
    chosen = service.study(study)
    try:
        run = service.start(NewRun(study=chosen.name, **_read_changes(chosen, form)), token.id)
    except (Problem, ValidationError, ValueError) as error:
        said = error.detail if isinstance(error, Problem) else _sentence(error)
        status = error.status if isinstance(error, Problem) else 422
        return _start_page(request, service, chosen, status, problem=said, form=form)
    return redirect(request, f"/runs/{run.id}")


@router.get("/runs")
def runs(
    request: Request,
    service: Service,
    cursor: Annotated[Whole | None, Query(ge=0, le=2**31 - 1)] = None,
) -> Response:
    """Show the runs, newest first."""
    found = service.store.runs(before=cursor, limit=_RUNS_PER_PAGE + 1)
    shown = found[:_RUNS_PER_PAGE]
    rows = []
    for run in shown:
        described = describe_run(run, service.runs.view(run).snapshot())
        now = now_line(described, run_pages.num_waiting(service, run))
        rows.append((described, now["what"].rstrip(".")))
    older = shown[-1].position if len(found) > _RUNS_PER_PAGE else None
    return page(request, "runs.html", here="Runs", runs=rows, next=older, newer=cursor is not None)


@router.post("/runs/{run}/{action:action}")
def act(request: Request, _token: Runner, run: TheRun, action: TheAction, service: Service) -> Response:
    """Pause, resume or cancel a run."""
    return redirect(request, f"/runs/{service.act(run, action).id}")


def _form_to_sign_in(request: Request, there: str, problem: Problem | None = None) -> Response:
    """Return the form, with what was wrong with the last one; ``there`` is where it leads."""
    more = {"next": there, "problem": problem.detail if problem else None}
    shown = page(request, "login.html", problem.status if problem else 200, **more)
    shown.headers.update(problem.headers if problem else {})
    return shown


def _inside(there: str) -> str:
    """Return a path of this page; anything that could lead elsewhere becomes its root."""
    is_path = there.startswith("/") and there.isprintable() and there[1:2] not in ("/", "\\")
    return there if is_path and not there.startswith("/login") else "/"


def _start_page(
    request: Request,
    service: Service,
    study: StudyModel,
    status: int = 200,
    problem: str | None = None,
    form: Form | None = None,
) -> Response:
    sent = study.defaults.model_dump() | {"objectives": [o.name for o in study.objectives], "prior": []}
    limits: dict[str, object] = {quantity.name: quantity.at_most for quantity in study.constraints}
    if form is not None:
        sent |= {name: field(form, name) for name in ("evaluations", "seed", "device") if name in form}
        sent["objectives"], sent["prior"] = form.get("objectives", []), form.get("prior", [])
        limits = {name: field(form, f"{_LIMIT}{name}") for name in limits}
    more = {
        "study": study,
        "earlier": [
            describe_run(run, service.runs.view(run).snapshot()) for run in service.earlier(study.name)
        ],
        "limits": limits,
        "sent": sent,
        "problem": problem or study.error,
    }
    return page(request, "start.html", status, here="Studies", **more)


def _read_changes(study: StudyModel, form: Form) -> dict[str, Any]:
    """Return what a form changes in a study: what it leaves as it is isn't a change."""
    asked: dict[str, Any] = {}
    for name in ("evaluations", "seed"):
        text = field(form, name)
        if text and text != str(getattr(study.defaults, name)):
            asked[name] = _read(text, name, whole_number)
    if field(form, "device") not in ("", study.defaults.device):
        asked["device"] = field(form, "device")
    names = [o.name for o in study.objectives]
    if "objectives" in study.changeable:
        kept = [names[0], *form.get("objectives", [])]
        asked |= {"objectives": kept} if set(kept) != set(names) else {}
    limits = {}
    for quantity in study.constraints:
        text = field(form, f"{_LIMIT}{quantity.name}")
        if text and (limit := _read(text, quantity.name, number)) != quantity.at_most:
            limits[quantity.name] = limit
    asked |= {"prior": form["prior"]} if form.get("prior") else {}
    return asked | ({"constraints": limits} if limits else {})


def _read(text: str, name: str, read: Callable[[str], float]) -> float:
    try:
        return read(text)
    except ValueError as error:
        raise ValueError(f"{_at_its_head(label(name))} is {text[:40]!r}: {error}.") from None


def _sentence(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{_at_its_head(label(str(first['loc'][0])))} is not valid: {first['msg'].lower()}."
    return str(error)


def _at_its_head(words: str) -> str:
    return words[:1].upper() + words[1:]


router.include_router(run_pages.router)
router.include_router(run_data.router)
