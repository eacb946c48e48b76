"""The stage that checks the supernet's ranking against architectures trained on their own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from nas.executors import run_all
from nas.files import digest
from nas.objective import Measurement
from nas.progress import CHECK_RANKING
from nas.report.results import Winner
from nas.report.trust import Alone, TrustResult
from nas.runner.compressing import Compressed, compress_in_search
from nas.runner.context import RunContext
from nas.runner.fine_tuning import final_quality, finish_network
from nas.runner.measuring import CALIBRATION, Known
from nas.runner.preparation import Prepared
from nas.runner.steps import CachedStep
from nas.runner.weights import Weights, train_alone
from nas.runner.workplace import Workplace
from nas.search.record.credibility import are_credible
from nas.search.record.trials import architecture_of, complete_trials, costs_of, indices_of, measurements_of
from nas.space import Architecture
from nas.study import stable_repr


def measure_trust(context: RunContext, record: optuna.Study, winners: Sequence[Winner]) -> TrustResult | None:
    """Train the winners and some others on their own, and compare with the search's numbers.

    The quality of a finished winner is used again where it was trained in the same way.

    Returns:
        None where candidates don't share weights: they were trained on their own in the first place.
    """
    if not context.weights.are_shared:
        return None
    prepared = context.prepared
    by_number = {trial.number: trial for trial in complete_trials(record)}
    chosen = {winner.trial for winner in winners}
    others = spread_trials(prepared, record, chosen, prepared.study.trust.count)
    trials = [by_number[winner.trial] for winner in winners] + others
    alone = _reach_alone(context, trials, winners, record.user_attrs[CALIBRATION])
    rows = [
        Alone(
            architecture_of(prepared.problem.space, trial).id,
            trial.number,
            trial.number in chosen,
            _read_searched_quality(prepared, trial),
            alone[trial.number].value,
            alone[trial.number].spread,
            tuple(trial.values[1:]),
        )
        for trial in trials
    ]
    result = TrustResult(how=_how(prepared), recipe=_settings(prepared), rows=tuple(rows))
    result.save(context.run.trust_result)
    return result


def _read_searched_quality(prepared: Prepared, trial: FrozenTrial) -> float:
    return measurements_of(trial)[prepared.problem.objectives[0].name].value


def _reach_alone(
    context: RunContext, trials: Sequence[FrozenTrial], winners: Sequence[Winner], known: Known
) -> dict[int, Measurement]:
    """Return what trials' architectures reach on their own, by number; winners that are finished have reached it."""
    prepared, progress = context.prepared, context.progress
    progress.start(CHECK_RANKING, len(trials), 0)
    by_number = {trial.number: trial for trial in trials}
    alone: dict[int, Measurement] = {}

    def note(number: int, reached: Measurement) -> None:
        alone[number] = reached
        searched = _read_searched_quality(prepared, by_number[number])
        progress.advance(f"{searched:.4f} in the search, {reached.value:.4f} alone")

    if prepared.study.trust.recipe is None:
        for winner in winners:
            note(winner.trial, winner.fine_tuned)
    missing = [trial for trial in trials if trial.number not in alone]
    run_all(
        context.workers,
        [partial(_alone, architecture_of(prepared.problem.space, trial), known) for trial in missing],
        lambda position, reached: note(missing[position].number, reached),
    )
    return alone


def spread_trials(prepared: Prepared, record: optuna.Study, taken: set[int], count: int) -> list[FrozenTrial]:
    """Return evaluated trials that are evenly spaced in the logarithm of their MACs, the ends included.

    Those with values too good to be true are left out, because they can't be compared.
    """
    trials = complete_trials(record)
    credible = are_credible(costs_of(prepared.problem.objectives, trials))
    trials = [t for t, keep in zip(trials, credible, strict=True) if keep and t.number not in taken]
    count = min(count, len(trials))
    if count == 0:
        return []
    macs = prepared.counts(indices_of(prepared.problem.space, trials)).macs
    sizes = np.log(np.maximum(macs, 1))
    chosen: list[int] = []
    for target in np.linspace(sizes.max(), sizes.min(), count):
        distance = np.abs(sizes - target)
        distance[chosen] = np.inf
        chosen.append(int(np.argmin(distance)))
    return [trials[row] for row in chosen]


def _alone(architecture: Architecture, known: Known, here: Workplace) -> Measurement:
    """Return the quality of an architecture after a training of its own; done once."""
    prepared, run, weights = here.prepared, here.run, here.weights
    study = prepared.study
    inputs = [weights.digest, architecture.id, _settings(prepared), study.seed]
    if study.pipeline.passes:
        inputs.append(stable_repr(study.pipeline))
    step = CachedStep(run.trust / f"{architecture.id}.json", inputs)
    alone = step.result(Measurement)
    if alone is None:
        folder = run.trust / f"{architecture.id}-{digest(inputs)}"
        made = _train_alone(prepared, weights, architecture, known, folder)
        alone = final_quality(prepared, made.candidate(prepared), known)
        step.store(alone.to_json())
        for leftover in run.trust.glob(f"{architecture.id}-*"):
            shutil.rmtree(leftover)
    return alone


def _train_alone(
    prepared: Prepared, weights: Weights, architecture: Architecture, known: Known, folder: Path
) -> Compressed:
    study = prepared.study
    if study.trust.recipe is None:
        return finish_network(prepared, architecture, weights, known, folder)
    module = train_alone(prepared, architecture, study.trust.recipe, folder / "checkpoint.pt")
    return compress_in_search(prepared, architecture, module)


def _settings(prepared: Prepared) -> str:
    study = prepared.study
    if study.trust.recipe is None:
        return f"fine-tuned: {study.winners.recipe.fingerprint}"
    return f"from scratch: {study.trust.recipe.fingerprint}"


def _how(prepared: Prepared) -> str:
    recipe = prepared.study.trust.recipe
    training = "fine-tuned" if recipe is None else "trained from scratch"
    epochs = (recipe or prepared.study.winners.recipe).epochs
    return f"{training} for {epochs} epoch{'s' if epochs > 1 else ''}"
