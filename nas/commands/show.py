"""``nas status`` and ``nas front``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nas.commands import remote
from nas.commands.options import (
    RunPath,
    Server,
    Storage,
    Verbose,
    client_of,
    existing_run,
    read_finished,
    read_limits,
    refuse_local_only,
    say,
)
from nas.errors import StudyError
from nas.report.device_set import choose_device_set
from nas.report.results import Results
from nas.report.tables import final_front_table, front_table
from nas.report.trust import TrustResult
from nas.terminal import console, describe_status, log_to_terminal, print_table

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from nas.objective import Objective
    from nas.runner.directory import RunDirectory
    from nas.space import SearchSpace


def status(path: RunPath, storage: Storage = None, server: Server = None, verbose: Verbose = False) -> None:
    """Show how far a run is, from any process."""
    log_to_terminal(verbose)
    if server is not None:
        with client_of(server) as client:
            remote.print_status(client, str(path))
        return
    from nas.runner.directory import RunDirectory, reading

    directory = RunDirectory(existing_run(path), storage)
    if directory.status.exists():
        console.print(describe_status(directory.read_status(), directory.is_running()), soft_wrap=True)
    if directory.has_trials():
        with reading(directory):
            _print_record(directory)


def front_command(
    path: RunPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    devices: Annotated[
        bool, typer.Option("--devices", help="Name the fewest models that serve every device.")
    ] = False,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            help="With --devices, NAME=VALUE: what a device bears of a column, such as latency_ms_pi=20; repeat for "
            "more. Every latency, with its median, unless told otherwise."
        ),
    ] = None,
    points: Annotated[
        float,
        typer.Option(help="With --devices: how much quality a device may lose against its own best model."),
    ] = 1.0,
    storage: Storage = None,
    server: Server = None,
    verbose: Verbose = False,
) -> None:
    """Print the search's front so far, and the final front of a finished run."""
    log_to_terminal(verbose)
    if limit and not devices:
        raise StudyError("--limit is for --devices: add that, or leave it out.")
    if server is not None:
        refuse_local_only(devices=devices or None)
        with client_of(server) as client:
            remote.print_front(client, str(path), as_json)
        return
    from nas.runner.directory import RunDirectory

    directory = RunDirectory(existing_run(path), storage)
    if devices:
        _print_device_set(
            read_finished(path, directory), read_limits(limit or [], "--limit"), points, as_json
        )
        return
    _print_front(directory, as_json)
    if directory.results.exists() and not as_json:
        final = final_front_table(read_finished(path, directory))
        print_table("final front: exported files, on the test split", final)


def _print_front(directory: RunDirectory, as_json: bool) -> None:
    """Print the front of the search, and in a table what is to be doubted about it."""
    from nas.runner.directory import open_record, reading
    from nas.search.guard import tell_of_broken
    from nas.search.record.credibility import doubts, front_of
    from nas.search.record.trials import ARCHITECTURE, complete_trials, costs_of

    with reading(directory):
        study, objectives = open_record(directory)
        trials = complete_trials(study)
        members = [trials[row] for row in front_of(study, objectives, costs_of(objectives, trials))]
    if as_json:
        print(json.dumps(_to_plain(directory.search_space(), objectives, members), indent=2))
        return
    shown = [(t.number, str(t.user_attrs[ARCHITECTURE]), list(t.values)) for t in members]
    print_table(f"front of {len(trials)} evaluations", front_table(objectives, shown))
    for sentence in (*doubts(objectives, trials), *tell_of_broken(study)):
        say(sentence)


def _to_plain(
    space: SearchSpace, objectives: Sequence[Objective], trials: Sequence[FrozenTrial]
) -> list[dict[str, object]]:
    from nas.search.record.trials import ARCHITECTURE, architecture_of

    return [
        {
            "trial": trial.number,
            "architecture": trial.user_attrs[ARCHITECTURE],
            "choices": dict(architecture_of(space, trial)),
            "values": dict(zip([o.name for o in objectives], trial.values, strict=True)),
        }
        for trial in trials
    ]


def _print_device_set(results: Results, limits: dict[str, float], points: float, as_json: bool) -> None:
    found = choose_device_set(results, limits, points)
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
        return
    if len(found.sets) > 1:
        print_table("the best sets by their size", found.sizes_table())
    print_table("what each device gets", found.devices_table())
    say(found.sentence())


def _print_record(directory: RunDirectory) -> None:
    """Print what the trials of a run say so far."""
    from nas.runner.directory import open_record
    from nas.search.guard import tell_of_broken
    from nas.search.models.quality import quality_sentences
    from nas.search.record.credibility import doubts
    from nas.search.record.reference_box import read_box
    from nas.search.record.trials import ENDED, ERROR, complete_trials, costs_of, list_paid_trials
    from nas.search.stopping import NEVER, forecast_of

    study, objectives = open_record(directory)
    trials = complete_trials(study)
    failed = [t for t in list_paid_trials(study) if ERROR in t.user_attrs]
    console.print(f"{len(trials)} evaluated, {len(failed)} failed")
    for error in dict.fromkeys(t.user_attrs[ERROR] for t in failed):
        console.print(f"  {error}", soft_wrap=True)
    box = read_box(study)
    if box is not None:
        console.print(f"hypervolume {box.history(costs_of(objectives, trials))[-1]:.4f}")
    warnings = [*doubts(objectives, trials), *tell_of_broken(study)]
    for sentence in (*warnings, *quality_sentences(objectives, trials)):
        say(sentence)
    if study.user_attrs.get(ENDED):
        console.print(f"the search has ended: {study.user_attrs[ENDED]}", soft_wrap=True)
    gain = forecast_of(study, objectives, NEVER.horizon)
    if gain is not None:
        say(str(gain))
    _print_trust(directory, objectives)


def _print_trust(directory: RunDirectory, objectives: Sequence[Objective]) -> None:
    if directory.trust_result.exists():
        for sentence in TrustResult.read(directory.trust_result).sentences(objectives):
            say(sentence)
