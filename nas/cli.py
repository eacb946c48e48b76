"""The command line: ``nas run | profile | status | front | export | studies | serve | token | agent | ...``."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.catalog import describe_study, find_study, study_names
from nas.checks import is_utf8
from nas.errors import NasError, OutputError, RunDirectoryError, ServiceError, StudyError
from nas.export.names import variant_files
from nas.protocols import DEFAULT_DEVICE
from nas.report.device_set import choose_device_set
from nas.report.results import Results, Winner
from nas.report.tables import Table, final_front_table, front_table
from nas.report.trust import TrustResult
from nas.service import commands, remote
from nas.terminal import (
    Bars,
    Terminated,
    console,
    described_status,
    log_to_terminal,
    output_told,
    print_profile,
    print_results,
    print_table,
    sigterm_interrupts,
    tell_aside,
)

if TYPE_CHECKING:
    import torch

    from nas.executors import MakeExecutor
    from nas.runner.directory import RunDirectory
    from nas.runner.workplace import Workplace
    from nas.service.client import Client
    from nas.study import Study

app = typer.Typer(
    help="Multi-objective neural architecture search.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        commands.print_line(f"nas {version('nas')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Multi-objective neural architecture search."""


app.command("serve")(commands.serve)
app.add_typer(commands.token_app, name="token")
_Verbose = Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error, and the log.")]
_StudyName = Annotated[str, typer.Argument(help="Name of a study, or a Python file that defines study().")]
_Device = Annotated[
    str | None,
    typer.Option(
        help=f"Where to train and to judge: cpu, cuda, ...; {DEFAULT_DEVICE} unless told otherwise."
    ),
]
_Objective = Annotated[
    list[str] | None,
    typer.Option(help="Keep this objective of the study's; repeat for more. All unless told otherwise."),
]
_Constraint = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=VALUE: at most so much of a quantity; a hard limit where it is counted. Repeat for more."
    ),
]
_Storage = Annotated[
    str | None,
    typer.Option(
        envvar="NAS_STORAGE",
        show_envvar=True,
        help="A PostgreSQL database for the trials: postgresql+psycopg://user@host/database. "
        "An SQLite file in the run directory unless told otherwise.",
    ),
]
_RunPath = Annotated[
    Path, typer.Argument(help="A run directory, for example runs/digits; with --server, the name of a run.")
]
_Server = Annotated[
    str | None,
    typer.Option(help="Address of a service to do it, with the token in the environment variable NAS_TOKEN."),
]


@app.command("run")
def run_command(
    study: _StudyName,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; runs/<study> unless told otherwise.")
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Instead of the study's own; may grow later.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the study's own.")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="One of Optuna's instead of the study's own: NSGAIISampler, ...")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="End the search after so many, over all attempts.")
    ] = None,
    plateau: Annotated[
        float | None,
        typer.Option(help="End the search when more is not expected to raise the hypervolume by this share."),
    ] = None,
    warm_start: Annotated[
        Path | None, typer.Option(help="Evaluate these first: a JSON file from 'nas front --json'.")
    ] = None,
    storage: _Storage = None,
    device: _Device = None,
    objective: _Objective = None,
    constraint: _Constraint = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also run the baselines.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Evaluate, train and finish so many architectures at a time, in processes."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Do that on a Ray cluster instead: host:port of its head, auto for the one that runs here, local for "
            "one that is begun here. As many at a time as it has room for, --jobs at most."
        ),
    ] = None,
    server: _Server = None,
    verbose: _Verbose = False,
) -> None:
    """Run a study, or go on with it where it was left. Stopped by Ctrl-C or SIGTERM, it can go on."""
    log_to_terminal(verbose)
    limits = _limits(constraint or [])
    if server is not None:
        _refuse_local_only(
            out=out,
            sampler=sampler,
            minutes=minutes,
            plateau=plateau,
            warm_start=warm_start,
            storage=None if storage == os.environ.get("NAS_STORAGE") else storage,
            baselines=baselines or None,
            jobs=jobs,
            ray=ray,
        )
        changes = {"evaluations": evaluations, "seed": seed, "device": device}
        with _client(server) as client:
            remote.start_run(client, study, {**changes, "objectives": objective, "constraints": limits})
        return
    from nas.runner import assist, run
    from nas.runner.preparation import choose_device
    from nas.search.warm_start import read_architectures
    from nas.training import joined_ranks

    make_study = partial(_chosen, study, device, sampler, evaluations, seed, objective, limits)
    chosen = make_study()
    stopping = dataclasses.replace(
        chosen.stopping,
        minutes=chosen.stopping.minutes if minutes is None else minutes,
        plateau=chosen.stopping.plateau if plateau is None else plateau,
    )
    first = chosen.warm_start if warm_start is None else read_architectures(warm_start)
    chosen = dataclasses.replace(chosen, stopping=stopping, warm_start=first)
    path = out or Path("runs") / chosen.name
    place = choose_device(device or DEFAULT_DEVICE)
    try:
        with sigterm_interrupts(), joined_ranks(place) as ranks:
            if not ranks.first:
                assist(chosen, path, device=place, ranks=ranks)
                return
            with Bars() as bars:
                results = run(
                    chosen,
                    path,
                    device=place,
                    progress=bars,
                    ranks=ranks,
                    baselines=baselines,
                    command=_command(storage),
                    storage=storage,
                    executor=_executor(jobs, ray, place),
                    make_study=make_study,
                )
    except KeyboardInterrupt as stop:
        print("\nnas: stopped; the same command goes on from here.", file=sys.stderr)
        raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None
    print_results(results, path)


@app.command("profile")
def profile_command(
    study: _StudyName,
    samples: Annotated[int, typer.Option(min=1, help="How many random architectures to count.")] = 2000,
    verbose: _Verbose = False,
) -> None:
    """Show how large a study's space is, what its networks cost, and what constraints leave of it."""
    log_to_terminal(verbose)
    from nas.runner.profile import profile

    print_profile(profile(find_study(study), samples))


@app.command("profile-device")
def profile_device_command(
    study: _StudyName,
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    measurements: Annotated[int, typer.Option(help="How many networks to measure.")] = 50,
    device: Annotated[
        str | None,
        typer.Option(
            help="MODULE:EXPRESSION of a device, such as 'nas.devices:OpenVino(threads=2)'; the study's own "
            "unless told otherwise."
        ),
    ] = None,
    objective: Annotated[str | None, typer.Option(help="Which latency, where the study has several.")] = None,
    verbose: _Verbose = False,
) -> None:
    """Measure a few of a study's networks, untrained, chosen so that the latency of all others follows."""
    log_to_terminal(verbose)
    from nas.runner.device_profile import latency_to_profile, profile_device

    if not out.parent.is_dir():
        raise OutputError(f"there is no folder {out.parent}: make it first.")
    if device is not None:
        _import_from_here()
    found = find_study(study)
    profile = profile_device(found, latency_to_profile(found, device, objective), measurements, _say)
    profile.write(out)
    _say(f"{profile.device}: written to {out}")


def _say(sentence: str) -> None:
    console.print(sentence, highlight=False, soft_wrap=True)


@app.command()
def status(
    path: _RunPath, storage: _Storage = None, server: _Server = None, verbose: _Verbose = False
) -> None:
    """Show how far a run is, from any process."""
    log_to_terminal(verbose)
    if server is not None:
        with _client(server) as client:
            remote.print_status(client, str(path))
        return
    from nas.runner.directory import RunDirectory, reading

    directory = RunDirectory(_existing(path), storage)
    if directory.status.exists():
        console.print(described_status(directory.read_status(), directory.is_running()), soft_wrap=True)
    if directory.has_trials():
        with reading(directory):
            _print_record(directory)


@app.command("front")
def front_command(
    path: _RunPath,
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
    storage: _Storage = None,
    server: _Server = None,
    verbose: _Verbose = False,
) -> None:
    """Print the search's front so far, and the final front of a finished run."""
    log_to_terminal(verbose)
    if limit and not devices:
        raise StudyError("--limit is for --devices: add that, or leave it out.")
    if server is not None:
        _refuse_local_only(devices=devices or None)
        with _client(server) as client:
            remote.print_front(client, str(path), as_json)
        return
    from nas.runner.directory import RunDirectory, open_record, reading
    from nas.search.record import ARCHITECTURE, architecture_of, complete_trials, costs_of, doubts, front_of

    directory = RunDirectory(_existing(path), storage)
    if devices:
        _print_device_set(_finished(path, directory), _limits(limit or [], "--limit"), points, as_json)
        return
    with reading(directory):
        study, objectives = open_record(directory)
        trials = complete_trials(study)
        members = [trials[row] for row in front_of(study, objectives, costs_of(objectives, trials))]
    if as_json:
        space = directory.search_space()
        plain = [
            {
                "trial": trial.number,
                "architecture": trial.user_attrs[ARCHITECTURE],
                "choices": dict(architecture_of(space, trial)),
                "values": dict(zip([o.name for o in objectives], trial.values, strict=True)),
            }
            for trial in members
        ]
        print(json.dumps(plain, indent=2))
        return
    shown = [(t.number, str(t.user_attrs[ARCHITECTURE]), list(t.values)) for t in members]
    print_table(f"front of {len(trials)} evaluations", front_table(objectives, shown))
    for sentence in doubts(objectives, trials):
        console.print(sentence, highlight=False, soft_wrap=True)
    if directory.results.exists():
        print_table(
            "final front: exported files, on the test split", final_front_table(_finished(path, directory))
        )


@app.command()
def export(
    path: _RunPath,
    to: Annotated[Path, typer.Option(help="Directory to make; must not exist.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Also winners that another one dominates.")
    ] = False,
    server: _Server = None,
    verbose: _Verbose = False,
) -> None:
    """Copy the Pareto set, with its model cards, to a directory of its own."""
    log_to_terminal(verbose)
    if server is not None:
        _refuse_local_only(all=everything or None)
        with _client(server) as client:
            remote.export(client, str(path), to)
        return
    from nas.runner.delivery import check_delivery
    from nas.runner.directory import RunDirectory

    directory = RunDirectory(_existing(path))
    results = _finished(path, directory)
    if to.exists():
        raise RunDirectoryError(f"{to} exists already: name a directory that doesn't.")
    chosen = [w for w in results.winners if everything or any(v.on_front for v in w.variants)]
    ids = [winner.id for winner in chosen]
    check_delivery(directory, ids)
    try:
        _copy_winners(directory.winners, chosen, to)
    except OSError as error:
        raise RunDirectoryError(
            f"the models can't be copied to {to} ({error}): choose another place, or run the study again if a "
            "winner's folder is gone."
        ) from error
    console.print(f"{len(ids)} models in {to}")


@app.command()
def studies(
    as_json: Annotated[bool, typer.Option("--json", help="Describe each study in JSON.")] = False,
    server: _Server = None,
    verbose: _Verbose = False,
) -> None:
    """List the studies that can be named."""
    log_to_terminal(verbose)
    if server is not None:
        with _client(server) as client:
            remote.print_studies(client, as_json)
        return
    if as_json:
        with contextlib.redirect_stdout(sys.stderr):  # what a study file prints is no JSON
            described = [describe_study(name) for name in study_names()]
        print(json.dumps(described, indent=2))
        return
    for name in study_names():
        console.print(name)


@app.command(
    add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def agent(context: typer.Context) -> None:
    """Time networks on this device for runs elsewhere; --bundle FILE writes the agent as one file for a board."""
    from nas.devices.agent.program import make_parser, run_agent
    from nas.devices.bundle import write_bundle

    parser = make_parser("nas agent")
    parser.add_argument("--bundle", type=Path, help="write the agent as one file, and do nothing else")
    options = parser.parse_args(context.args)
    if options.bundle is None:
        raise typer.Exit(run_agent(options))
    write_bundle(options.bundle)
    console.print(
        f"{options.bundle}: copy it to the device, and start it there with 'python3 {options.bundle.name}'",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def devices(
    urls: Annotated[list[str], typer.Argument(help="Addresses of agents, such as http://10.0.0.7:8710.")],
    token_file: Annotated[
        Path | None,
        typer.Option(help="Holds their token; the environment variable NAS_AGENT_TOKEN does otherwise."),
    ] = None,
    verbose: _Verbose = False,
) -> None:
    """Show how devices are at the moment; exits with 1 where one is away or refuses."""
    log_to_terminal(verbose)
    from nas.devices.remote import Remote
    from nas.devices.states import COLUMNS, states_of

    found = states_of([Remote(url, token_file=token_file) for url in urls])
    print_table("devices", Table(COLUMNS, [state.cells for state in found]))
    for state in found:
        if state.sentence:
            console.print(f"{state.url}: {state.sentence}", highlight=False, soft_wrap=True, markup=False)
    if any(state.facts is None for state in found):
        raise typer.Exit(1)


def _finished(path: Path, directory: RunDirectory) -> Results:
    """Return what a finished run found."""
    if not directory.results.exists():
        raise RunDirectoryError(f"{path} has no finished winners yet: run its study to the end first.")
    return Results.read(directory.results)


def _print_device_set(results: Results, limits: dict[str, float], points: float, as_json: bool) -> None:
    found = choose_device_set(results, limits, points)
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
        return
    if len(found.sets) > 1:
        print_table("the best sets by their size", found.sizes_table())
    print_table("what each device gets", found.devices_table())
    console.print(found.sentence(), highlight=False, soft_wrap=True)


def _print_record(directory: RunDirectory) -> None:
    """Print what the trials of a run say so far."""
    from nas.runner.directory import open_record
    from nas.search.quality import quality_sentences
    from nas.search.record import ENDED, ERROR, complete_trials, costs_of, doubts, paid_trials, stored_box
    from nas.search.stopping import NEVER, forecast_of

    study, objectives = open_record(directory)
    trials = complete_trials(study)
    failed = [t for t in paid_trials(study) if ERROR in t.user_attrs]
    console.print(f"{len(trials)} evaluated, {len(failed)} failed")
    for error in dict.fromkeys(t.user_attrs[ERROR] for t in failed):
        console.print(f"  {error}", soft_wrap=True)
    box = stored_box(study)
    if box is not None:
        console.print(f"hypervolume {box.history(costs_of(objectives, trials))[-1]:.4f}")
    for sentence in doubts(objectives, trials):
        console.print(sentence, highlight=False, soft_wrap=True)
    for sentence in quality_sentences(objectives, trials):
        console.print(sentence, highlight=False, soft_wrap=True)
    if study.user_attrs.get(ENDED):
        console.print(f"the search has ended: {study.user_attrs[ENDED]}", soft_wrap=True)
    gain = forecast_of(study, objectives, NEVER.horizon)
    if gain is not None:
        console.print(str(gain), soft_wrap=True)
    if directory.trust_result.exists():
        trust = TrustResult.read(directory.trust_result)
        for sentence in trust.sentences(objectives[0]):
            console.print(sentence, highlight=False, soft_wrap=True)


def _command(storage: str | None) -> str:
    """Return what was typed, without a password and, of a run directory's absolute path, without the folders."""
    from nas.search.storage import check_url, without_password

    typed = ["nas"]
    for word in sys.argv[1:]:
        out = word.removeprefix("--out=")
        if (out != word or typed[-1] == "--out") and Path(out).is_absolute():
            word = word.replace(out, Path(out).name)
        typed.append(word)
    if storage is not None:
        check_url(storage)
        typed = [word.replace(storage, without_password(storage)) for word in typed]
    return shlex.join(typed)


def _chosen(
    study: str,
    device: str | None,
    sampler: str | None,
    evaluations: int | None,
    seed: int | None,
    objectives: list[str] | None,
    limits: dict[str, float],
) -> Study:
    """Return a study with what was changed on the command line."""
    from nas.search import OptunaSampler
    from nas.study import changed

    chosen = changed(
        find_study(study),
        evaluations=evaluations,
        seed=seed,
        device=device,
        objectives=objectives or (),
        constraints=limits,
    )
    return chosen if sampler is None else dataclasses.replace(chosen, strategy=OptunaSampler(sampler))


def _executor(jobs: int | None, ray: str | None, device: torch.device) -> MakeExecutor[Workplace] | None:
    """Return what makes the workers of a run; None where it does everything by itself."""
    if ray is not None:
        from nas.executors.ray import RayCluster, check_cluster

        check_cluster(ray)
        return partial(RayCluster, address=ray, num_gpus=float(device.type == "cuda"), jobs=jobs)
    from nas.executors import Processes

    return None if jobs in (None, 1) else partial(Processes, jobs=jobs)


def _client(server: str) -> contextlib.closing[Client]:
    from nas.service.client import Client

    return contextlib.closing(Client(server))


def _refuse_local_only(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise ServiceError(
                f"--{name.replace('_', '-')} is for runs of this machine: leave it out with --server."
            )


def _limits(constraints: list[str], option: str = "--constraint") -> dict[str, float]:
    """Read ``NAME=VALUE`` of the command line."""
    limits = {}
    for text in constraints:
        name, equals, value = text.partition("=")
        try:
            limits[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise StudyError(f"{option} is {text!r}: write NAME=VALUE with a number, such as macs=2e6.")
    return limits


def _copy_winners(winners: Path, chosen: list[Winner], to: Path) -> None:
    """Make ``to`` whole or not at all; variants that aren't shipped stay behind."""
    partial = to.with_name(f".{to.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for winner in chosen:
            withheld = [name for v in winner.variants if not v.shipped for name in variant_files(v.name)]
            ignored = shutil.ignore_patterns("finished*.json", *withheld)
            shutil.copytree(winners / winner.id, partial / winner.id, ignore=ignored)
        shutil.copy(winners / "README.md", partial / "README.md")
        partial.rename(to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _existing(path: Path) -> Path:
    if not (path / "run.json").exists():
        raise RunDirectoryError(
            f"{path} is no run directory: name one that 'nas run' made, such as runs/digits."
        )
    return path


def _import_from_here() -> None:
    """Let packages in the current folder be imported, as ``python -m nas`` does and ``nas`` wouldn't."""
    with contextlib.suppress(FileNotFoundError):  # a folder that was deleted holds no packages
        here = os.getcwd()
        if not sys.flags.safe_path and here not in sys.path:
            sys.path.insert(0, here)


def _check_arguments() -> None:
    """Refuse names that are no UTF-8: neither databases nor reports can hold them."""
    for word in sys.argv[1:]:
        if not is_utf8(word):
            raise OutputError(
                f"the argument {word!r} is not UTF-8: rename the file or directory that it names."
            )


def main() -> None:
    """Run the command line; an error a user can put right is one sentence and exit code 2."""
    _import_from_here()
    try:
        with output_told():
            _check_arguments()
            app()
    except NasError as error:
        if "--verbose" in sys.argv:
            raise
        tell_aside(str(error))
        sys.exit(2)
