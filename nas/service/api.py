"""The API, version 1. Answers about a run are made once per change of the run, as text."""

from __future__ import annotations

import re
from typing import Annotated, final, get_args

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.convertors import StringConvertor, register_url_convertor
from zipstream import ZipStream

from nas.export.names import CARD, PICTURES
from nas.report.results import Winner
from nas.runner.delivery import check_delivery
from nas.service import models
from nas.service.access import Reader, Runner, access_of, reader
from nas.service.downloads import file_of, files_of, zip_winners
from nas.service.numbers import Whole
from nas.service.problems import Problem, document_problems
from nas.service.processes import tail
from nas.service.runs import (
    RunView,
    Snapshot,
    describe_front,
    describe_if_readable,
    describe_run,
    describe_trial,
)
from nas.service.starting import make_limit_problem
from nas.service.state import State, state_of
from nas.service.store import Action, Run

_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}-[0-9a-f]{8}", re.ASCII)

_ANSWERS = document_problems(401, 414, 422, 429)  # whatever is asked for
router = APIRouter(prefix="/api/v1", dependencies=[Depends(reader)], responses=_ANSWERS)
of_run = APIRouter(prefix="/runs/{run}", responses=document_problems(404))
open_router = APIRouter(prefix="/api/v1", responses=_ANSWERS)
"""What may be asked by whoever isn't signed in."""

Service = Annotated[State, Depends(state_of)]


def _run_of(service: Service, run: Annotated[str, Path(description="Of a run: see /runs.")]) -> Run:
    """Return the run that the address names; the routers ask first who sends the request."""
    found = service.store.run(run) if _RUN_ID.fullmatch(run) else None
    if found is None:
        raise Problem(404, "unknown-run", "There is no run of that name: /api/v1/runs lists them.")
    return found


TheRun = Annotated[Run, Depends(_run_of)]


def _view_of(service: Service, run: TheRun) -> RunView:
    return service.runs.view(run)


TheView = Annotated[RunView, Depends(_view_of)]


@final
class _ActionConvertor(StringConvertor):
    """Lets an address end in an action, and in nothing else: ``{action:action}``."""

    regex = "|".join(get_args(Action))


register_url_convertor("action", _ActionConvertor())
TheAction = Annotated[Action, Path(description="pause, resume or cancel.")]
_Cursor = Annotated[Whole | None, Query(ge=0, le=2**31 - 1, description="What the page before gave as next.")]


@open_router.post("/session", responses=document_problems(400, 403, 413), tags=["session"])
def sign_in(asked: models.SignIn, request: Request, response: Response) -> models.SessionModel:
    """Exchange a token for a cookie, as the page does."""
    token = access_of(request).sign_in(request, response, asked.token)
    return models.SessionModel(name=token.name, role=token.role)


@router.get("/session", tags=["session"])
def session(token: Reader) -> models.SessionModel:
    """Tell who is signed in."""
    return models.SessionModel(name=token.name, role=token.role)


@router.delete("/session", status_code=204, responses=document_problems(403), tags=["session"])
def sign_out(request: Request, response: Response) -> None:
    """Sign out: the cookie is worth nothing from now on."""
    access_of(request).sign_out(request, response)


@router.get("/studies", responses=document_problems(409), tags=["studies"])
def studies(service: Service) -> list[models.StudyModel]:
    """List the operator's studies, what each needs and what may be changed in it."""
    return service.catalogue()


@router.get("/devices", tags=["devices"])
def devices(service: Service) -> list[models.DeviceModel]:
    """List the devices that the operator named, and how each is at the moment."""
    return [models.DeviceModel.of(found) for found in service.boards.states()]


@router.post("/runs", status_code=201, responses=document_problems(400, 403, 404, 409, 413), tags=["runs"])
def start(token: Runner, asked: models.NewRun, service: Service) -> models.RunModel:
    """Put a study in the queue."""
    return _describe(service, service.start(asked, token.id))


@router.get("/runs", tags=["runs"])
def runs(
    service: Service,
    cursor: _Cursor = None,
    limit: Annotated[Whole, Query(ge=1, le=100)] = 20,
) -> models.RunsPage:
    """List the runs, newest first."""
    found = service.store.runs(before=cursor, limit=limit + 1)
    shown = found[:limit]
    more = shown[-1].position if len(found) > limit else None
    return models.RunsPage(runs=[_describe(service, run) for run in shown], next=more)


@of_run.get("", tags=["runs"])
def run(run: TheRun, view: TheView) -> models.RunModel:
    """Tell how a run stands."""
    return describe_run(run, view.snapshot())


@of_run.post("/{action:action}", responses=document_problems(403, 409), tags=["runs"])
def act(_token: Runner, run: TheRun, action: TheAction, service: Service) -> models.RunModel:
    """Pause a run and keep it, resume a paused or failed one from where it was, or cancel it for good."""
    return _describe(service, service.act(run, action))


@of_run.get("/trials", response_model=models.TrialsPage, tags=["results"])
def trials(
    view: TheView, cursor: _Cursor = None, limit: Annotated[Whole, Query(ge=1, le=5000)] = 500
) -> Response:
    """List the evaluated architectures, in the order in which they were finished."""
    begin = cursor or 0

    def make(snapshot: Snapshot) -> models.TrialsPage:
        end = min(begin + limit, len(snapshot.rows))
        return models.TrialsPage(
            objectives=snapshot.objectives,
            trials=[describe_trial(snapshot, position) for position in range(begin, end)],
            position=max(begin, end),
            next=end if end < len(snapshot.rows) else None,
        )

    return view.answer(("trials", begin, limit), make)


@of_run.get("/front", response_model=models.FrontModel, tags=["results"])
def front(view: TheView) -> Response:
    """Return the front so far."""
    return view.answer("front", describe_front)


@of_run.get("/hypervolume", response_model=models.HypervolumeModel, tags=["results"])
def hypervolume(view: TheView) -> Response:
    """Return the hypervolume after each evaluated architecture; empty before the tenth."""
    return view.answer("hypervolume", lambda snapshot: {"hypervolume": snapshot.hypervolume})


@of_run.get("/log", tags=["runs"])
def log(view: TheView, lines: Annotated[Whole, Query(ge=1, le=1000)] = 100) -> models.LogModel:
    """Return the end of the log."""
    return models.LogModel(lines=tail(view.log, lines).splitlines())


@of_run.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"description": "Server-sent events.", "content": {"text/event-stream": {}}}},
    tags=["runs"],
)
async def events(
    token: Reader,
    run: TheRun,
    service: Service,
    request: Request,
    after: Annotated[Whole, Query(ge=0, le=2**31 - 1, description="Trials that are known already.")] = 0,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> StreamingResponse:
    """Tell what happens to a run while it happens.

    Events are ``trial``, ``front``, ``log``, ``status``, and ``done`` at the end. Each has an id; a client that
    sends the last one as ``Last-Event-ID`` goes on from there.
    """
    watches, access = service.watches, access_of(request)
    if watches.num_streams[token.id] >= watches.max_streams:
        said = (
            f"This token watches {watches.max_streams} runs already, which is the most it may: close a page."
        )
        raise make_limit_problem(said, watches.max_streams, watches.max_streams, "event streams")
    stream = watches.stream(run, after, last_event_id, token.id, lambda: access.is_still(token))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@of_run.get("/winners", tags=["results"])
def winners(view: TheView) -> models.WinnersModel:
    """List the winners; none before the run is finished."""
    snapshot = view.snapshot()
    found = [_describe_winner(view, winner) for winner in snapshot.winners]
    return models.WinnersModel(winners=found, original=snapshot.original)


def _winner_of(view: TheView, winner: Annotated[str, Path(description="Of a winner.")]) -> Winner:
    found = view.snapshot().winner(winner)
    if found is None:
        raise Problem(404, "unknown-winner", "There is no winner of that name: see the run's winners.")
    return found


TheWinner = Annotated[Winner, Depends(_winner_of)]


@of_run.get("/winners/{winner}", tags=["results"])
def winner(view: TheView, winner: TheWinner) -> models.WinnerCard:
    """Return a winner with its model card."""
    card = next((path for path in files_of(view.directory, winner) if path.name == CARD), None)
    text = card.read_text() if card is not None else ""
    return models.WinnerCard(**vars(_describe_winner(view, winner)), card=text)


@of_run.get(
    "/winners/{winner}/files/{name}",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/octet-stream": {}, "image/png": {}}},
        **document_problems(409),
    },
    tags=["results"],
)
def winner_file(
    view: TheView, winner: TheWinner, name: Annotated[str, Path(description="One of the winner's files.")]
) -> FileResponse:
    """Download one file of a winner."""
    path = file_of(view.directory, winner, name)
    check_delivery(view.directory, [winner.id], [name])
    if name in PICTURES:
        return FileResponse(path, media_type="image/png")
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


# a damaged file is not sent (409)
_ZIP = {
    200: {"description": "A zip.", "content": {"application/zip": {}}},
    **document_problems(409),
}


@of_run.get("/winners/{winner}/zip", response_class=StreamingResponse, responses=_ZIP, tags=["results"])
def winner_zip(run: TheRun, view: TheView, winner: TheWinner) -> StreamingResponse:
    """Download a winner's folder."""
    return _send_zip(zip_winners(view.directory, [winner]), f"{run.id}-{winner.id}.zip")


@of_run.get("/pareto.zip", response_class=StreamingResponse, responses=_ZIP, tags=["results"])
def pareto_zip(run: TheRun, view: TheView) -> StreamingResponse:
    """Download every winner on the final front, and the card of the set."""
    members = [w for w in view.snapshot().winners if any(v.on_front for v in w.variants)]
    if not members:
        raise Problem(404, "no-winners", "The run has no winners yet: they come at its end.")
    archive, card = zip_winners(view.directory, members), view.directory.winners / CARD
    if card.is_file() and not card.is_symlink():
        archive.add_path(card, CARD)
    return _send_zip(archive, f"{run.id}-pareto.zip")


def _describe(service: State, run: Run) -> models.RunModel:
    return describe_if_readable(run, service.runs.view(run))


def _describe_winner(view: RunView, winner: Winner) -> models.WinnerModel:
    files = files_of(view.directory, winner)
    sizes = [{"name": path.name, "bytes": path.stat().st_size} for path in files]
    return models.WinnerModel.model_validate({**vars(winner), "files": sizes})


def _send_zip(archive: ZipStream, name: str) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(len(archive))}
    return StreamingResponse(archive, media_type="application/zip", headers=headers)


router.include_router(of_run)
