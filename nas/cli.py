"""The command line: ``nas run | profile | status | front | export``."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from nas.catalog import find_study, study_names
from nas.errors import NasError, RunDirectoryError
from nas.files import read_json
from nas.report.results import Results
from nas.report.tables import front_table
from nas.report.trust import TrustResult
from nas.terminal import (
    Bars,
    console,
    described_status,
    log_to_terminal,
    print_profile,
    print_results,
    print_table,
)

app = typer.Typer(
    help="Multi-objective neural architecture search.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_Verbose = Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error, and the log.")]
_RunPath = Annotated[Path, typer.Argument(help="A run directory, for example runs/digits.")]


@app.command("run")
def run_command(
    study: Annotated[str, typer.Argument(help="Name of a study, or a Python file that defines study().")],
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
    device: Annotated[str, typer.Option(help="Where to train: cpu, cuda, ...")] = "cpu",
    baselines: Annotated[bool, typer.Option("--baselines", help="Also run the baselines.")] = False,
    verbose: _Verbose = False,
) -> None:
    """Run a study, or go on with it where it was left."""
    log_to_terminal(verbose)
    from nas.runner import assist, run
    from nas.runner.preparation import choose_device
    from nas.search import OptunaSampler
    from nas.training import joined_ranks

    chosen = find_study(study)
    changes: dict[str, object] = {"evaluations": evaluations, "seed": seed}
    if sampler is not None:
        changes["strategy"] = OptunaSampler(sampler)
    chosen = dataclasses.replace(chosen, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]
    path = out or Path("runs") / chosen.name
    place = choose_device(device)
    try:
        with joined_ranks(place) as ranks:
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
                    command=" ".join(["nas", *sys.argv[1:]]),
                )
    except KeyboardInterrupt:
        print("\nnas: stopped; the same command goes on from here.", file=sys.stderr)
        raise typer.Exit(130) from None
    print_results(results, path)


@app.command("profile")
def profile_command(
    study: Annotated[str, typer.Argument(help="Name of a study, or a Python file that defines study().")],
    samples: Annotated[int, typer.Option(min=1, help="How many random architectures to count.")] = 2000,
    verbose: _Verbose = False,
) -> None:
    """Show how large a study's space is, what its networks cost, and what constraints leave of it."""
    log_to_terminal(verbose)
    from nas.runner.profile import profile

    print_profile(profile(find_study(study), samples))


@app.command()
def status(path: _RunPath, verbose: _Verbose = False) -> None:
    """Show how far a run is, from any process."""
    log_to_terminal(verbose)
    from nas.runner.directory import RunDirectory, open_record
    from nas.search.record import ERROR, complete_trials, costs_of, paid_trials, reference_box

    directory = RunDirectory(_existing(path))
    if directory.status.exists():
        state = read_json(directory.status)
        console.print(described_status(state))
    if directory.database.exists():
        study, objectives = open_record(directory.manifest, directory.database)
        trials = complete_trials(study)
        failed = [t for t in paid_trials(study) if ERROR in t.user_attrs]
        console.print(f"{len(trials)} evaluated, {len(failed)} failed")
        for error in dict.fromkeys(t.user_attrs[ERROR] for t in failed):
            console.print(f"  {error}")
        box = reference_box(study, objectives)
        if box is not None:
            console.print(f"hypervolume {box.hypervolume(costs_of(objectives, trials)):.4f}")
        if (directory.trust / "trust.json").exists():
            trust = TrustResult.from_json(read_json(directory.trust / "trust.json"))
            for sentence in trust.sentences(objectives[0]):
                console.print(sentence, highlight=False)


@app.command("front")
def front_command(
    path: _RunPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    verbose: _Verbose = False,
) -> None:
    """Print the search's front so far."""
    log_to_terminal(verbose)
    import numpy as np

    from nas import pareto
    from nas.runner.directory import RunDirectory, open_record
    from nas.search.record import ARCHITECTURE, architecture_of, complete_trials, costs_of
    from nas.space import space_from_description

    directory = RunDirectory(_existing(path))
    study, objectives = open_record(directory.manifest, directory.database)
    trials = complete_trials(study)
    members = [trials[row] for row in np.flatnonzero(pareto.non_dominated(costs_of(objectives, trials)))]
    if as_json:
        space = space_from_description(read_json(directory.manifest)["space"])
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


@app.command()
def export(
    path: _RunPath,
    to: Annotated[Path, typer.Option(help="Directory to make; must not exist.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Also winners that another one dominates.")
    ] = False,
    verbose: _Verbose = False,
) -> None:
    """Copy the Pareto set, with its model cards, to a directory of its own."""
    log_to_terminal(verbose)
    from nas.runner.directory import RunDirectory

    directory = RunDirectory(_existing(path))
    if not directory.results.exists():
        raise RunDirectoryError(f"{path} has no finished winners yet: run its study to the end first.")
    if to.exists():
        raise RunDirectoryError(f"{to} exists already: name a directory that doesn't.")
    results = Results.read(directory.results)
    ids = [w.id for w in results.winners if everything or any(v.on_front for v in w.variants)]
    try:
        _copy_winners(directory.winners, ids, to)
    except OSError as error:
        raise RunDirectoryError(
            f"the models can't be copied to {to} ({error}): choose another place, or run the study again if a "
            "winner's folder is gone."
        ) from error
    console.print(f"{len(ids)} models in {to}")


@app.command()
def studies(verbose: _Verbose = False) -> None:
    """List the studies that can be named."""
    log_to_terminal(verbose)
    for name in study_names():
        console.print(name)


def _copy_winners(winners: Path, ids: list[str], to: Path) -> None:
    """Make ``to`` whole or not at all."""
    partial = to.with_name(f".{to.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for id_ in ids:
            shutil.copytree(winners / id_, partial / id_, ignore=shutil.ignore_patterns("finished*.json"))
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


def main() -> None:
    """Run the command line; an error a user can put right is one sentence and exit code 2."""
    try:
        app()
    except NasError as error:
        if "--verbose" in sys.argv:
            raise
        print(f"nas: {error}", file=sys.stderr)
        sys.exit(2)
