"""The web page of a run, its comparisons and its winners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from nas.export.names import PICTURES
from nas.objective import Objective
from nas.report.results import FILE_BYTES, Variant, Winner
from nas.service import api, words
from nas.service.api import Service, TheRun, TheView
from nas.service.cards import render_card, tags_of
from nas.service.columns import bars_of, values_of
from nas.service.comparing import compare_architectures, compare_runs
from nas.service.middleware import root_of
from nas.service.models import WinnerCard
from nas.service.numbers import Whole
from nas.service.problems import Problem
from nas.service.rendering import page
from nas.service.run_data import Name, space_of
from nas.service.runs import Snapshot, describe_run
from nas.service.state import State
from nas.service.store import UNFINISHED, Run
from nas.service.supervisor import log_tail

_LOG_LINES = 200
_MAX_ROWS = 300
_MAX_RUNS = 100

router = APIRouter(include_in_schema=False)


@router.get("/runs/{run}")
def run_page(request: Request, run: TheRun, service: Service) -> Response:
    """Show a run."""
    return page(request, "run.html", here="Runs", **_context(service, run))


@router.get("/runs/{run}/parts")
def parts(request: Request, run: TheRun, service: Service) -> Response:
    """Send the parts of a run's page that change while it runs, for its script to put in their places."""
    return page(request, "run_parts.html", **_context(service, run))


@router.get("/runs/{run}/compare")
def compare(
    request: Request,
    run: TheRun,
    view: TheView,
    a: Annotated[Whole | None, Query(ge=0, le=2**31 - 1)] = None,
    b: Annotated[Whole | None, Query(ge=0, le=2**31 - 1)] = None,
) -> Response:
    """Show two architectures of a run side by side."""
    snapshot, space = view.snapshot(), space_of(view)
    by_number = {row.number: row for row in snapshot.rows}
    chosen = [None if number is None else by_number.get(number) for number in (a, b)]
    if None in chosen and (a is not None or b is not None):
        raise Problem(
            404, "unknown-trial", "The run has no evaluated trial of that number: pick from its front."
        )
    offered = {row.number: row for row in [*_best_first(snapshot), *(row for row in chosen if row)]}
    more: dict[str, Any] = {"a": None, "b": None}
    if chosen[0] is not None and chosen[1] is not None and space is not None:
        more = compare_architectures(snapshot, space, chosen[0], chosen[1])
    rows = [words.table_row(snapshot, row) for row in offered.values()]
    return page(request, "versus.html", here="Runs", run=describe_run(run, snapshot), rows=rows, **more)


@router.get("/compare")
def compare_fronts(
    request: Request, service: Service, a: Name | None = None, b: Name | None = None
) -> Response:
    """Show the fronts of two runs in one picture."""
    offered = [
        r for r in service.store.runs(before=None, limit=_MAX_RUNS) if service.runs.view(r).snapshot().rows
    ]
    by_id = {run.id: run for run in offered}
    chosen = [by_id.get(id_) if id_ else None for id_ in (a, b)]
    if (a and chosen[0] is None) or (b and chosen[1] is None):
        raise Problem(404, "unknown-run", "There is no run of that name that has evaluated something.")
    more: dict[str, Any] = {"compared": False, "problem": None, "a": chosen[0], "b": chosen[1]}
    if chosen[0] is not None and chosen[1] is not None:
        more |= compare_runs(chosen[0], service.runs.view(chosen[0]), chosen[1], service.runs.view(chosen[1]))
    return page(request, "fronts.html", here="Compare", runs=offered, **more)


@router.get("/runs/{run}/winners/{winner}")
def winner_page(
    request: Request, run: TheRun, view: TheView, winner: Annotated[WinnerCard, Depends(api.winner)]
) -> Response:
    """Show a winner's model card."""
    snapshot, space = view.snapshot(), space_of(view)
    row = next((row for row in snapshot.rows if row.number == winner.trial), None)
    files = f"{root_of(request)}/api/v1/runs/{run.id}/winners/{winner.id}/files"
    return page(
        request,
        "winner.html",
        here="Runs",
        run=describe_run(run, snapshot),
        winner=_card(snapshot, winner.id, winner.variants),
        card=render_card(winner.card, {name: f"{files}/{name}" for name in PICTURES}),
        tags=tags_of(winner.card),
        bars=bars_of(space, row) if space is not None and row is not None else [],
    )


def _context(service: State, run: Run) -> dict[str, Any]:
    view = service.runs.view(run)
    snapshot = view.snapshot()
    described = describe_run(run, snapshot)
    values = values_of(snapshot, snapshot.rows)
    objectives = [words.describe_objective(o, values[:, at]) for at, o in enumerate(snapshot.objectives)]
    if not objectives:
        objectives = [words.describe_objective(o) for o in _plan_objectives(service, run)]
    quality = snapshot.objectives[0] if snapshot.objectives else None
    return {
        "run": described,
        "live": run.state in UNFINISHED,
        "objectives": objectives,
        "default_x": len(objectives) - 1,
        "stages": words.stages(described),
        "now": words.now_line(described, service.num_waiting(described)),
        "waiting": words.waiting_words(described),
        "changes": words.changes(described),
        "surrogate": words.surrogate_figures(described.surrogate, quality),
        "num_front": len(snapshot.front),
        "rows": [words.table_row(snapshot, row) for row in _best_first(snapshot)],
        "winners": [_card(snapshot, winner.id, winner.variants) for winner in _winners_best_first(snapshot)],
        "original": [_card(snapshot, network.name, network.variants) for network in snapshot.original],
        "log": log_tail(view.directory.path, _LOG_LINES),
    }


def _plan_objectives(service: State, run: Run) -> list[Objective]:
    """Return the objectives that a run will have, as the catalogue knows them, until the run itself says so."""
    planned = [o for study in service.catalogue() if study.name == run.study for o in study.objectives]
    kept = run.changes.get("objectives") or [o.name for o in planned]
    return [Objective(o.name, o.unit, o.direction) for o in planned if o.name in kept]


def _best_first(snapshot: Snapshot) -> list[Any]:
    """Return the front's members, best quality first; the first few hundred."""
    quality = snapshot.objectives[0] if snapshot.objectives else None
    if quality is None:
        return []
    return sorted(snapshot.front_rows, key=lambda row: quality.cost(row.values[quality.name].value))[
        :_MAX_ROWS
    ]


def _winners_best_first(snapshot: Snapshot) -> list[Winner]:
    """Return the winners on the final front, best quality first, then the others."""

    def rank(winner: Winner) -> tuple[bool, float]:
        quality = snapshot.objectives[0]
        is_dominated = not any(variant.on_front for variant in winner.variants)
        return is_dominated, quality.cost(winner.variants[0].values[quality.name].value)

    return sorted(snapshot.winners, key=rank)


def _card(snapshot: Snapshot, name: str, variants: Sequence[Variant]) -> dict[str, Any]:
    """Return what the page shows of a network that was finished."""
    return {
        "name": name,
        "facts": _list_measured(snapshot, variants[0]),
        "variants": [variant.name for variant in variants[1:]],
        "on_front": any(variant.on_front for variant in variants),
    }


def _list_measured(snapshot: Snapshot, variant: Variant) -> list[dict[str, str]]:
    objectives = [o for o in (*snapshot.objectives, FILE_BYTES) if o.name in variant.values]
    return [words.describe_measurement(objective, variant.values[objective.name]) for objective in objectives]
