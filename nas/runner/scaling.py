"""Grows a winner into a family of networks: the growth is fitted, then each member is a run (Tan 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nas.errors import StudyError
from nas.evaluation.from_scratch import train_from_scratch
from nas.files import write_text
from nas.objective import Measurement
from nas.objectives import Bench
from nas.pareto import non_dominated
from nas.progress import Progress
from nas.report.markdown import Marked
from nas.report.results import FILE_BYTES, Results
from nas.report.tables import Table, label, with_spread
from nas.runner.family import Family, Member, Shares, ways_to_scale
from nas.runner.lock import lock_directory
from nas.runner.manifest import claim_manifest
from nas.runner.measuring import measure_candidates
from nas.runner.preparation import prepare
from nas.runner.running import run
from nas.runner.steps import CachedStep
from nas.study import Study
from nas.training.checkpoint import remove_checkpoint

FIT = "fit how to scale"
_MOST_DOUBLINGS = 20
"""A million times the MACs: nobody trains that, and what is a slip of the hand is told before anything is trained."""


def scale_winner(
    study: Study,
    results: Results,
    winner: str,
    out: Path,
    *,
    phis: Sequence[float],
    training_device: torch.device,
    progress: Progress,
) -> list[Results]:
    """Grow a winner into a family; each member is a run of its own in ``out``, with card, figures and exported files.

    How to share the growth between depth, width and resolution is found first, on networks of twice the winner's MACs.
    The same call again goes on where it was left.

    Args:
        study: Study that found the winner.
        results: What was found in its run.
        winner: Id of the winner.
        out: Folder of the family.
        phis: How many times each member doubles the winner's MACs; 0 is the winner, trained as the others are.
        training_device: Where to train.
        progress: Is told how it goes.

    Returns:
        The results of each member's run.

    Raises:
        StudyError: a phi is out of range, or the study didn't find the winner.
        StudyChangedError: the folder holds the family of another winner, or was made with another study.
        RunDirectoryError: the run has no such winner, or another process is at work in the folder.
    """
    _check_phis(phis)
    family = Family.of_winner(study, results, winner)
    with lock_directory(out):
        first = prepare(family.study_of(family.first), training_device)
        claim_manifest(out / "family.json", first.description())
        fitted = fit_scaling(family, out / "fit", training_device, progress)
        shares = next(iter(fitted))
        progress.say(f"{winner} grows by {shares}")
        members = [family.member(shares, phi) for phi in phis]
        found = [
            run(
                family.study_of(member),
                out / f"phi-{member.phi:g}",
                training_device=training_device,
                progress=progress,
            )
            for member in members
        ]
        write_text(out / "README.md", _write_card(study, winner, fitted, members, found))
    return found


def _check_phis(phis: Sequence[float]) -> None:
    for phi in phis:
        if not 0 <= phi <= _MOST_DOUBLINGS:
            raise StudyError(
                f"phi is {phi:g}: from 0 to {_MOST_DOUBLINGS} doublings of the MACs are expected."
            )


def fit_scaling(
    family: Family,
    folder: Path,
    training_device: torch.device,
    progress: Progress,
    ways: Sequence[Shares] | None = None,
) -> dict[Shares, Member]:
    """Train a network of twice the winner's MACs for each way to scale, and return all, the best one first.

    Each is trained from scratch by the study's recipe and evaluated on the search split. What was trained is kept in
    ``folder``.

    Args:
        family: Whose growth it is.
        folder: Where to keep what was trained.
        training_device: Where to train.
        progress: Is told how it goes.
        ways: Those to try; None for all.
    """
    ways = list(ways_to_scale()) if ways is None else ways
    progress.start(FIT, len(ways), 0)
    found: dict[Shares, Member] = {}
    costs: dict[Shares, float] = {}
    for shares in ways:
        member = family.member(shares, 1.0)
        study = family.study_of(member)
        quality = _quality_of(
            study, folder / f"{shares.depth}{shares.width}{shares.resolution}", training_device
        )
        found[shares] = replace(member, quality=quality)
        costs[shares] = study.objectives[0].objective.cost(quality.value)
        progress.advance(f"{shares}: {quality.value:.4g}")
    return {shares: found[shares] for shares in sorted(ways, key=costs.__getitem__)}


def _quality_of(study: Study, path: Path, training_device: torch.device) -> Measurement:
    """Return the quality on the search split of a study's only architecture, trained from scratch."""
    prepared = prepare(study, training_device)
    step = CachedStep(path.with_suffix(".json"), prepared.description())
    stored = step.result(Measurement)
    if stored is not None:
        return stored
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = path.with_suffix(".pt")
    module = train_from_scratch(
        study.network,
        prepared.supernet.space.smallest(),
        prepared.splits.train,
        prepared.splits.task,
        study.recipe,
        seed=study.seed,
        device=training_device,
        checkpoint=checkpoint,
    )
    bench = Bench(prepared.splits.search, thorough=False, calibration={})
    quality = measure_candidates(prepared.measured[0], [prepared.candidate(module)], bench, of_device=False)[
        0
    ]
    step.store(quality)
    remove_checkpoint(checkpoint)
    return quality


def _write_card(
    study: Study,
    winner: str,
    fitted: Mapping[Shares, Member],
    members: Sequence[Member],
    found: Sequence[Results],
) -> str:
    """Return the card of the family."""
    best = next(iter(fitted)).coefficients
    return (
        f"# {study.name}: {winner}, scaled\n\n"
        f"Compound scaling (Tan 2019): for each doubling of the MACs, depth grows {best.depth:.3f} times, width "
        f"{best.width:.3f} times and resolution {best.resolution:.3f} times. All members are trained from scratch "
        "alike, the first one too; qualities are on the test split, of the exported float32 files.\n\n"
        f"{_tabulate_members(members, found).markdown()}\n\n## How to grow\n\n"
        "Networks of twice the MACs, trained from scratch with the study's recipe:\n\n"
        f"{_tabulate_ways(study, fitted).markdown()}\n"
    )


def _tabulate_members(members: Sequence[Member], found: Sequence[Results]) -> Table:
    objectives = [*found[0].objectives, FILE_BYTES]
    exported = [results.winners[0].variants[0].values for results in found]
    costs = np.array([[o.cost(values[o.name].value) for o in objectives] for values in exported])
    rows = [
        [
            Marked(f"[{member.phi:g}](phi-{member.phi:g}/winners/{results.winners[0].id}/README.md)"),
            f"{member.ratio:.2f} x",
            *(with_spread(values[o.name], o) for o in objectives),
            "yes" if on_front else "no",
        ]
        for member, results, values, on_front in zip(
            members, found, exported, non_dominated(costs), strict=True
        )
    ]
    return Table(["phi", "MACs", *(label(o.name) for o in objectives), "on front"], rows)


def _tabulate_ways(study: Study, fitted: Mapping[Shares, Member]) -> Table:
    quality = study.objectives[0].objective
    return Table(
        ["grows by", "MACs", f"{quality.name} on the search split"],
        [
            [str(way), f"{one.ratio:.2f} x", with_spread(one.quality, quality)]
            for way, one in fitted.items()
            if one.quality
        ],
    )
