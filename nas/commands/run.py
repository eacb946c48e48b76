"""``nas run``."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

import typer

from nas.catalog import find_study
from nas.commands import remote
from nas.commands.options import (
    Constraint,
    Objective,
    Server,
    Storage,
    StudyName,
    TrainingDevice,
    Verbose,
    client_of,
    read_limits,
    refuse_local_only,
)
from nas.commands.workers import executor_of, trainers_of
from nas.progress import DEFAULT_DEVICE
from nas.terminal import Bars, Terminated, log_to_terminal, print_results, sigterm_interrupts

if TYPE_CHECKING:
    from nas.report.results import Results
    from nas.study import Study


def run_command(
    study: StudyName,
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
    prior: Annotated[
        list[Path] | None,
        typer.Option(
            help="The directory of an earlier run of the same choices, with --server its name: it tells where to look. "
            "Repeat it for more."
        ),
    ] = None,
    storage: Storage = None,
    training_device: TrainingDevice = None,
    objective: Objective = None,
    constraint: Constraint = None,
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
    together: Annotated[
        int | None,
        typer.Option(
            "--ranks",
            min=1,
            help="With --ray: train the supernet there, so many processes together; in this one unless told otherwise.",
        ),
    ] = None,
    server: Server = None,
    verbose: Verbose = False,
) -> None:
    """Run a study, or go on with it where it was left. Stopped by Ctrl-C or SIGTERM, it can go on."""
    log_to_terminal(verbose)
    limits = read_limits(constraint or [])
    changes = _Changes(evaluations, seed, training_device, objective, limits, sampler)
    earlier = tuple(map(str, prior or []))
    if server is not None:
        refuse_local_only(
            out=out,
            sampler=sampler,
            minutes=minutes,
            plateau=plateau,
            warm_start=warm_start,
            storage=None if storage == os.environ.get("NAS_STORAGE") else storage,
            baselines=baselines or None,
            jobs=jobs,
            ray=ray,
            ranks=together,
        )
        with client_of(server) as client:
            remote.start_run(client, study, changes.to_request(earlier))
        return
    make_study = partial(changes.apply_to, study)
    chosen = _extend_search(make_study(), minutes, plateau, warm_start, earlier)
    path = out or Path("runs") / chosen.name
    place = _Place(training_device or DEFAULT_DEVICE, jobs, ray, together)
    results = _run_here(chosen, path, place, baselines=baselines, storage=storage, make_study=make_study)
    if results is not None:
        print_results(results, path)


@final
@dataclasses.dataclass(frozen=True)
class _Changes:
    """What of a study is changed on the command line, in this process and in its workers; None leaves it as it is."""

    evaluations: int | None
    seed: int | None
    training_device: str | None
    objectives: list[str] | None
    limits: dict[str, float]
    sampler: str | None

    def apply_to(self, study: str) -> Study:
        """Return the study of that name, changed."""
        from nas.search import OptunaSampler
        from nas.study import change_study

        chosen = change_study(
            find_study(study),
            evaluations=self.evaluations,
            seed=self.seed,
            training_device=self.training_device,
            objectives=self.objectives or (),
            constraints=self.limits,
        )
        if self.sampler is None:
            return chosen
        return dataclasses.replace(chosen, strategy=OptunaSampler(self.sampler))

    def to_request(self, prior: Sequence[str]) -> dict[str, object]:
        """Return them as a service takes them, with the names of the runs to learn from."""
        return {
            "evaluations": self.evaluations,
            "seed": self.seed,
            "device": self.training_device,
            "prior": list(prior),
            "objectives": self.objectives,
            "constraints": self.limits,
        }


@final
@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a run is done, as the command line names it."""

    training_device: str
    jobs: int | None
    ray: str | None
    ranks: int | None


def _extend_search(
    study: Study, minutes: float | None, plateau: float | None, warm_start: Path | None, prior: Sequence[str]
) -> Study:
    """Return a study with what the command line says of when its search ends, and where it begins."""
    from nas.search.warm_start import read_architectures

    stopping = dataclasses.replace(
        study.stopping,
        minutes=study.stopping.minutes if minutes is None else minutes,
        plateau=study.stopping.plateau if plateau is None else plateau,
    )
    first = study.warm_start if warm_start is None else read_architectures(warm_start)
    return dataclasses.replace(study, stopping=stopping, warm_start=first, prior=(*study.prior, *prior))


def _run_here(
    study: Study,
    path: Path,
    place: _Place,
    *,
    baselines: bool,
    storage: str | None,
    make_study: Callable[[], Study],
) -> Results | None:
    """Run a study in this process; None where it only helps another one that ``torchrun`` started to train."""
    from nas.runner import assist, run
    from nas.runner.preparation import choose_training_device
    from nas.training import join_ranks

    training_device = choose_training_device(place.training_device)
    try:
        with sigterm_interrupts(), join_ranks(training_device) as ranks:
            if not ranks.first:
                assist(study, path, training_device=training_device, ranks=ranks)
                return None
            with Bars() as bars:
                return run(
                    study,
                    path,
                    training_device=training_device,
                    progress=bars,
                    ranks=ranks,
                    baselines=baselines,
                    command=command_line(storage),
                    storage=storage,
                    executor=executor_of(place.jobs, place.ray, training_device),
                    make_study=make_study,
                    trainers=trainers_of(place.ranks, place.ray, training_device),
                )
    except KeyboardInterrupt as stop:
        print("\nnas: stopped; the same command goes on from here.", file=sys.stderr)
        raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None


def command_line(storage: str | None) -> str:
    """Return what was typed, without a password and, of a run directory's absolute path, without the folders."""
    from nas.search.record.storage import check_url, without_password

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
