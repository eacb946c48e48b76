"""The baseline that needs no search: the largest network, pruned and quantized."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from nas.compression.fine_tune import FineTune
from nas.compression.int8 import Int8
from nas.compression.prune import Prune
from nas.errors import ExportError
from nas.evaluation.costs import count_costs
from nas.executors import Rest, run_all
from nas.objective import Measurement
from nas.progress import PRUNED_BY_HAND
from nas.report.results import Baseline
from nas.runner.compressing import Compressed, compress, lab_of
from nas.runner.context import RunContext
from nas.runner.measuring import Known, PartialEvaluation, evaluate_compressed
from nas.runner.preparation import Prepared
from nas.runner.steps import CachedStep
from nas.runner.weights import Weights, train_alone
from nas.runner.workplace import Workplace
from nas.search.record.reference_box import ReferenceBox
from nas.space import Architecture
from nas.study import stable_repr

SHARES = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125)
"""Shares of the channels that stay, in eighths. Chosen: each is fine-tuned like a winner, so finer steps cost more."""


def prune_by_hand(context: RunContext, known: Known, box: ReferenceBox | None) -> Baseline:
    """Return the largest network with so many of its channels, fine-tuned, in float32 and in int8, on the search split.

    Each share of the channels is pruned by the magnitude of the weights and fine-tuned like a winner; the largest
    network itself teaches. A share at which pruning fails is left out, and a log line says so. What exceeds a hard
    limit is left out too, as the search leaves it out.
    """
    progress = context.progress
    progress.start(PRUNED_BY_HAND, len(SHARES), 0)

    def tell(position: int, made: list[dict[str, Measurement]] | str) -> None:
        if isinstance(made, str):
            progress.say(f"{PRUNED_BY_HAND}: {made}")
        progress.advance(f"{SHARES[position]:.0%} of the channels")

    works: list[Callable[[Workplace], Any]] = [partial(_at, share, known) for share in SHARES]
    found = run_all(context.workers, works, tell)
    made_at = [made for made in found if not isinstance(made, str) and made]
    rows = [row for made in made_at for row in made]
    objectives = context.prepared.problem.objectives
    values = [[row[o.name].value for o in objectives] for row in rows]
    costs = np.array([[o.cost(row[o.name].value) for o in objectives] for row in rows])
    within = " that meet the constraints" if context.prepared.study.hard_limits else ""
    note = (
        f"the largest network with {len(made_at)} of {len(SHARES)} shares of its channels{within}, each fine-tuned "
        "like a winner, in float32 and in int8"
    )
    return Baseline("pruned and quantized", note, values, box.history(costs) if box and rows else [])


def _at(share: float, known: Known, here: Workplace) -> Rest[Workplace] | list[dict[str, Measurement]] | str:
    """Return what :func:`_prune` does, or why it can't be done."""
    try:
        return _prune(share, known, here)
    except ExportError as error:
        return str(error)


def _prune(share: float, known: Known, here: Workplace) -> Rest[Workplace] | list[dict[str, Measurement]]:
    """Return all objectives of the float32 and of the int8 network with a share of the channels; done once."""
    prepared, weights = here.prepared, here.weights
    stored = _step(share, here).result(list[dict[str, Measurement]])
    if stored is not None:
        return stored
    scratch, largest = _scratch(share, here), prepared.problem.space.largest()
    module = _largest(prepared, weights, largest, scratch)
    pruning = () if share == 1 else (Prune(keep=share, saliency="magnitude", distribution="uniform"),)
    lab = lab_of(prepared, scratch, module)
    int8 = compress(prepared, (*pruning, FineTune(), Int8()), largest, module, lab)
    plain = replace(int8, model=int8.plain)
    allowed = [made for made in (plain, int8) if _meets_limits(prepared, made)]
    return Rest(
        partial(_measure, share, known, [evaluate_compressed(prepared, made, known) for made in allowed])
    )


def _meets_limits(prepared: Prepared, made: Compressed) -> bool:
    """Whether a network meets the study's hard limits, counted as the search counts."""
    counts = replace(made.counts(), stored_bytes=None)
    return all(
        count_costs(quantity, counts)[0] <= at_most for quantity, at_most in prepared.study.hard_limits
    )


def _measure(
    share: float, known: Known, pruned: Sequence[PartialEvaluation], here: Workplace
) -> list[dict[str, Measurement]] | str:
    try:
        rows = [evaluation.on_devices(here.prepared, known) for evaluation in pruned]
    except ExportError as error:
        return str(error)
    _step(share, here).store([{name: m.to_json() for name, m in row.items()} for row in rows])
    shutil.rmtree(_scratch(share, here), ignore_errors=True)
    return rows


def _step(share: float, here: Workplace) -> CachedStep:
    study = here.prepared.study
    inputs = [here.weights.digest, share, study.winners.recipe.fingerprint, study.seed]
    inputs += map(stable_repr, study.hard_limits)
    return CachedStep(here.run.baselines / f"pruned-{share:g}.json", inputs)


def _scratch(share: float, here: Workplace) -> Path:
    return here.run.baselines / f"pruned-{share:g}"


def _largest(prepared: Prepared, weights: Weights, largest: Architecture, folder: Path) -> nn.Module:
    """Return the largest network: out of the supernet, or trained by itself where there is none."""
    teacher = weights.teacher()
    if teacher is not None:
        return teacher
    return train_alone(prepared, largest, prepared.study.recipe, folder / "checkpoint.pt")
