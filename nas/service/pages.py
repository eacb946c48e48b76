"""The web page: signing in, the studies, the list of runs, what starts or stops one, and the API's reference.

What a page shows and the API tells too is looked up by the API's own route, which the page depends on.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from nas.service import api, run_data, run_pages
from nas.service.access import Runner, access_of, reader
from nas.service.api import Service
from nas.service.forms import StudyForm, read_form, refuse_other_bodies
from nas.service.middleware import redirect, root_of
from nas.service.models import DeviceModel, RunModel, RunsPage, StudyModel
from nas.service.problems import Problem
from nas.service.rendering import page
from nas.service.runs import describe_if_readable
from nas.service.words import now_line

router = APIRouter(include_in_schema=False, dependencies=[Depends(reader)])
open_router = APIRouter(include_in_schema=False)
"""What may be seen by whoever isn't signed in."""


class _SignInForm(BaseModel):
    token: str = ""
    next: str = "/"


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
    return page(request, "login.html", next=_inside(next), problem=None)


@open_router.post("/login", dependencies=[Depends(refuse_other_bodies)])
def sign_in(request: Request, form: Annotated[_SignInForm, Form()]) -> Response:
    """Exchange the token for a cookie; what is wrong with it is said in the form."""
    there = _inside(form.next)
    answer = redirect(request, there)
    try:
        access_of(request).sign_in(request, answer, form.token)
    except Problem as problem:
        shown = page(request, "login.html", problem.status, next=there, problem=problem.detail)
        shown.headers.update(problem.headers)
        return shown
    return answer


@open_router.post("/logout")
def sign_out(request: Request) -> Response:
    """End the sign-in."""
    answer = redirect(request, "/login")
    access_of(request).sign_out(request, answer)
    return answer


@open_router.get("/docs")
def reference(request: Request) -> Response:
    """Show every operation of the API, from its OpenAPI description: what it takes, what it gives."""
    request.state.token = access_of(request).visitor(request)
    address = root_of(request) + request.app.openapi_url
    return page(request, "reference.html", described=request.app.openapi(), address=address)


@router.get("/studies")
def studies(request: Request, found: Annotated[list[StudyModel], Depends(api.studies)]) -> Response:
    """Show the catalogue."""
    return page(request, "studies.html", here="Studies", studies=found)


@router.get("/devices")
def devices(request: Request, found: Annotated[list[DeviceModel], Depends(api.devices)]) -> Response:
    """Show how the devices are."""
    return page(request, "devices.html", here="Devices", devices=found)


@router.get("/studies/{study}")
def start_form(request: Request, study: str, service: Service) -> Response:
    """Show what may be changed in a study, and the button that starts it."""
    chosen = service.study(study)
    return _start_page(request, service, chosen, StudyForm.of(chosen), chosen.error)


@router.post("/studies/{study}/runs", dependencies=[Depends(refuse_other_bodies)])
def start(
    request: Request, token: Runner, form: Annotated[StudyForm, Form()], study: str, service: Service
) -> Response:
    """Start a study and lead to its run."""
    chosen = service.study(study)
    try:
        run = service.start(read_form(chosen, form), token.id)
    except Problem as problem:
        return _start_page(request, service, chosen, form, problem.detail, problem.status)
    return redirect(request, f"/runs/{run.id}")


@router.get("/runs")
def runs(request: Request, service: Service, found: Annotated[RunsPage, Depends(api.runs)]) -> Response:
    """Show the runs, newest first."""
    now = [now_line(run, service.num_waiting(run)).what.rstrip(".") for run in found.runs]
    newer = "cursor" in request.query_params
    rows = zip(found.runs, now, strict=True)
    return page(request, "runs.html", here="Runs", runs=list(rows), next=found.next, newer=newer)


@router.post("/runs/{run}/{action:action}")
def act(request: Request, changed: Annotated[RunModel, Depends(api.act)]) -> Response:
    """Pause, resume or cancel a run."""
    return redirect(request, f"/runs/{changed.id}")


def _start_page(
    request: Request,
    service: Service,
    study: StudyModel,
    form: StudyForm,
    problem: str | None,
    status: int = 200,
) -> Response:
    earlier = [describe_if_readable(run, service.runs.view(run)) for run in service.earlier(study)]
    sent = form.model_dump()
    return page(
        request,
        "start.html",
        status,
        here="Studies",
        study=study,
        earlier=earlier,
        sent=sent,
        problem=problem,
    )


def _inside(there: str) -> str:
    """Return a path of this page; anything that could lead elsewhere becomes its root."""
    is_path = there.startswith("/") and there.isprintable() and there[1:2] not in ("/", "\\")
    return there if is_path and not there.startswith("/login") else "/"


router.include_router(run_pages.router)
router.include_router(run_data.router)
