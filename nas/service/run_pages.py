"""The web page of a run, its comparisons and its winners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from nas.export.names import PICTURES
from nas.objective import Measurement, Objective
from nas.report.results import FILE_BYTES, Winner
from nas.service import api, words
from nas.service.api import Service, TheRun, TheView
from nas.service.cards import render_card, tags_of
from nas.service.columns import bars_of, values_of
from nas.service.comparing import compare_choices, compare_runs
from nas.service.middleware import root_of
from nas.service.models import Changes, WinnerCard
from nas.service.numbers import Whole
from nas.service.problems import Problem
from nas.service.processes import tail
from nas.service.record import TrialRow
from nas.service.rendering import page
from nas.service.run_data import Name
from nas.service.runs import Snapshot, describe_run
from nas.service.state import State
from nas.service.store import UNFINISHED, Run

_LOG_LINES = 200  # chosen: ten screens of the box that shows them
_MAX_ROWS = 300  # chosen: a front of many objectives has thousands, and all are sent again at every change
_MAX_RUNS = 100  # the newest; each that is offered is looked at

router = APIRouter(include_in_schema=False)


@router.get("/runs/{run}")
@router.get("/runs/{run}/parts")
def run_page(request: Request, run: TheRun, view: TheView, service: Service) -> Response:
    """Show a run; or the parts of its page that change while it runs, for its script to put in their places."""
    snapshot = view.snapshot()
    described = describe_run(run, snapshot)
    values = values_of(snapshot.objectives, snapshot.rows)
    objectives = [words.describe_objective(o, values[:, at]) for at, o in enumerate(snapshot.objectives)]
    if not objectives:
        objectives = [words.describe_objective(o) for o in _plan_objectives(service, run)]
    return page(
        request,
        "run_parts.html" if request.url.path.endswith("/parts") else "run.html",
        here="Runs",
        run=described,
        live=run.state in UNFINISHED,
        objectives=objectives,
        default_x=len(objectives) - 1,
        stages=words.stages(described),
        now=words.now_line(described, service.num_waiting(described)),
        changes=words.changes(described),
        surrogate=words.surrogate_figures(described.surrogate, next(iter(snapshot.objectives), None)),
        snapshot=snapshot,
        rows=_best_first(snapshot),
        winners=_winners_best_first(snapshot),
        measured=[*snapshot.objectives, FILE_BYTES],
        log=tail(view.log, _LOG_LINES),
    )


@router.get("/runs/{run}/compare")
def compare(
    request: Request,
    run: TheRun,
    view: TheView,
    a: Annotated[Whole | None, Query(ge=0, le=2**31 - 1)] = None,
    b: Annotated[Whole | None, Query(ge=0, le=2**31 - 1)] = None,
) -> Response:
    """Show two architectures of a run side by side."""
    snapshot = view.snapshot()
    chosen = [row for number in (a, b) for row in snapshot.rows if row.number == number]
    if len(chosen) < 2 and (a is not None or b is not None):
        raise Problem(
            404, "unknown-trial", "The run has no evaluated trial of that number: pick from its front."
        )
    offered = {row.number: row for row in [*_best_first(snapshot), *chosen]}
    choices = compare_choices(snapshot.space, chosen) if chosen else []
    return page(
        request,
        "versus.html",
        here="Runs",
        run=describe_run(run, snapshot),
        snapshot=snapshot,
        rows=list(offered.values()),
        chosen=chosen,
        bars=[bars_of(snapshot.space, row) for row in chosen],
        choices=choices,
        num_differing=sum(a != b for _, a, b in choices),
    )


@router.get("/compare")
def compare_fronts(
    request: Request, service: Service, a: Name | None = None, b: Name | None = None
) -> Response:
    """Show the fronts of two runs in one picture."""
    newest = service.store.runs(before=None, limit=_MAX_RUNS)
    offered = [r for r in newest if service.runs.view(r).try_snapshot()[0].rows]
    chosen = [run for id_ in (a, b) for run in offered if run.id == id_]
    if len(chosen) < sum(1 for id_ in (a, b) if id_):
        raise Problem(404, "unknown-run", "There is no run of that name that has evaluated something.")
    views = [service.runs.view(run) for run in chosen]
    compared = compare_runs(*views) if len(views) == 2 else None
    problem = compared if isinstance(compared, str) else compared and compared.caution
    return page(
        request,
        "fronts.html",
        here="Compare",
        runs=offered,
        compared=None if isinstance(compared, str) else compared,
        problem=problem,
        sides=[(run, view.snapshot()) for run, view in zip(chosen, views, strict=True)],
        a=chosen[0] if a and chosen else None,
        b=chosen[-1] if b and chosen else None,
    )


@router.get("/runs/{run}/winners/{winner}")
def winner_page(
    request: Request, run: TheRun, view: TheView, winner: Annotated[WinnerCard, Depends(api.winner)]
) -> Response:
    """Show a winner's model card."""
    snapshot = view.snapshot()
    row = next((row for row in snapshot.rows if row.number == winner.trial), None)
    files = f"{root_of(request)}/api/v1/runs/{run.id}/winners/{winner.id}/files"
    return page(
        request,
        "winner.html",
        here="Runs",
        run=describe_run(run, snapshot),
        winner=winner,
        measured=[*snapshot.objectives, FILE_BYTES],
        card=render_card(winner.card, {name: f"{files}/{name}" for name in PICTURES}),
        tags=tags_of(winner.card),
        bars=[] if row is None else bars_of(snapshot.space, row),
    )


def _plan_objectives(service: State, run: Run) -> list[Objective]:
    """Return the objectives that a run will have, as the catalogue knows them, until the run itself says so."""
    planned = [o for study in service.catalogue() if study.name == run.study for o in study.objectives]
    kept = Changes.model_validate(run.changes).objectives
    return [Objective(o.name, o.unit, o.direction) for o in planned if not kept or o.name in kept]


def _best_first(snapshot: Snapshot) -> list[TrialRow]:
    """Return the front's members, best quality first; the first few hundred."""
    return sorted(snapshot.front_rows, key=lambda row: _quality_cost(snapshot, row.values))[:_MAX_ROWS]


def _winners_best_first(snapshot: Snapshot) -> list[Winner]:
    """Return the winners on the final front, best quality first, then the others."""

    def rank(winner: Winner) -> tuple[bool, float]:
        is_dominated = not any(variant.on_front for variant in winner.variants)
        return is_dominated, _quality_cost(snapshot, winner.variants[0].values)

    return sorted(snapshot.winners, key=rank)


def _quality_cost(snapshot: Snapshot, values: Mapping[str, Measurement]) -> float:
    """Return the quality among values by objective, to be minimised."""
    quality = snapshot.objectives[0]
    return quality.cost(values[quality.name].value)
