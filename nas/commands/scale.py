"""``nas scale``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nas.catalog import find_study
from nas.commands.options import StudyName, TrainingDevice, Verbose, existing_run, read_finished, say
from nas.progress import DEFAULT_DEVICE
from nas.terminal import Bars, Terminated, log_to_terminal, sigterm_interrupts


def scale_command(
    study: StudyName,
    winner: Annotated[str, typer.Option(help="Id of the winner to begin with.")],
    run: Annotated[
        Path | None, typer.Option(help="Run directory that has it; runs/<study> unless told otherwise.")
    ] = None,
    phi: Annotated[
        list[float] | None,
        typer.Option(
            min=0, help="How often its MACs are doubled; repeat for more. 0, 1 and 2 unless told otherwise."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the family; runs/<study>-<winner> unless told otherwise.")
    ] = None,
    training_device: TrainingDevice = None,
    verbose: Verbose = False,
) -> None:
    """Grow a winner into a family of networks, each trained from scratch, with cards; the same command goes on."""
    log_to_terminal(verbose)
    from nas.runner.directory import RunDirectory
    from nas.runner.preparation import choose_training_device
    from nas.runner.scaling import scale_winner

    chosen = find_study(study)
    path = run or Path("runs") / chosen.name
    results = read_finished(path, RunDirectory(existing_run(path)))
    folder = out or Path("runs") / f"{chosen.name}-{winner}"
    place = choose_training_device(training_device or DEFAULT_DEVICE)
    phis = sorted(set(phi or [0.0, 1.0, 2.0]))
    try:
        with sigterm_interrupts(), Bars() as bars:
            scale_winner(chosen, results, winner, folder, phis=phis, training_device=place, progress=bars)
    except KeyboardInterrupt as stop:
        print("\nnas: stopped; the same command goes on from here.", file=sys.stderr)
        raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None
    say(f"the family is in {folder}; its card is {folder / 'README.md'}")
