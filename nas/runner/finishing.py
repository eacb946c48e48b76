"""Winners: chosen from the front, fine-tuned, compressed, exported, measured again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
import optuna
from optuna.trial import FrozenTrial
from torch import nn

from nas import pareto
from nas.errors import EvaluationError
from nas.evaluation import OnnxCandidate
from nas.export.folder import load_weights, variant_file
from nas.export.names import WEIGHTS
from nas.files import damaged, digest, file_digest
from nas.objective import Measurement, excess_over
from nas.protocols import (
    FINISH_WINNERS,
    Bench,
    Candidate,
    MeasuredObjective,
    Problem,
    Progress,
)
from nas.report.results import FILE_BYTES, Original, Variant, Winner
from nas.report.tables import kept_sentence
from nas.runner.directory import RunDirectory
from nas.runner.exporting import export, file_names, make_variants, on_cpu
from nas.runner.illustrating import illustrate_winner
from nas.runner.measuring import CALIBRATION, Known, counted_of_file, judged
from nas.runner.original import finished_originals, is_converted, original_rows
from nas.runner.preparation import Prepared
from nas.runner.steps import Step, tell_remade
from nas.runner.weights import Weights
from nas.search.patience import waited_for
from nas.search.record import (
    ReferenceBox,
    architecture_of,
    are_credible,
    complete_trials,
    costs_of,
    doubts,
    indices_of,
    measurements_of,
    predictions_of,
    reference_box,
)
from nas.search.stand_alone import expected_alone, stand_alone_values
from nas.space import Architecture, FloatArray
from nas.study import stable_repr
from nas.supernet.recalibrate import recalibrate_on
from nas.training import distillation_step, supervised_step, train

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class _Outcome:
    """What fine-tuning a winner came to, as it is stored: a measurement after it, and of the weights kept instead."""

    value: float
    spread: float
    unit: str
    device: str
    repeats: int
    kept: Measurement | None = None  # older records lack it

    @property
    def fine_tuned(self) -> Measurement:
        return Measurement(self.value, self.spread, self.unit, self.device, self.repeats)


@final
@dataclass(frozen=True)
class _Finished:
    """A network that was finished like a winner, and whose files are made."""

    architecture: Architecture
    folder: Path
    fine_tuned: Measurement
    kept: Measurement | None


def choose_winners(prepared: Prepared, record: optuna.Study) -> list[FrozenTrial]:
    """Return up to ``winners.count`` front members.

    Those that meet the soft limits, or the one nearest to that. The one of best quality first, then those that
    keep most of the front's hypervolume. Where the search knew what architectures reach on their own, the front
    is that of what all are expected to reach so. Those with values too good to be true are left out.

    Raises:
        EvaluationError: all have such values.
    """
    problem, trials = prepared.problem, _credible_trials(prepared.problem, complete_trials(record))
    searched = costs_of(problem.objectives, trials)
    numbers, indices = np.array([t.number for t in trials]), indices_of(problem.space, trials)
    costs = expected_alone(problem, stand_alone_values(record), numbers, indices, searched)
    front = np.flatnonzero(problem.front(costs))
    _warn_of_limits(problem, searched[front])
    stored = reference_box(record, problem.objectives) if costs is searched else None
    box = stored or ReferenceBox.around(costs)
    scaled = box.scaled(costs[front])
    best = int(np.argmin(scaled[:, 0]))
    rows = pareto.spread_subset(scaled, prepared.study.winners.count, box.reference, best)
    return [trials[front[row]] for row in rows]


def _credible_trials(problem: Problem, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    told = doubts(problem.objectives, trials)
    for sentence in told:
        logger.warning("%s", sentence)
    believed = are_credible(costs_of(problem.objectives, trials))
    if not believed.any():
        raise EvaluationError(f"there is no front: {told[0]}")
    return [trial for trial, keep in zip(trials, believed, strict=True) if keep]


def _warn_of_limits(problem: Problem, costs: FloatArray) -> None:
    if problem.excess(costs).any():
        limits = ", ".join(f"{name} of at most {limit:g}" for name, limit in problem.soft_limits.items())
        logger.warning("no architecture that was evaluated has %s: the nearest to that are finished", limits)


def finish_winners(
    prepared: Prepared, run: RunDirectory, record: optuna.Study, weights: Weights, progress: Progress
) -> tuple[tuple[Winner, ...], tuple[Original, ...]]:
    """Fine-tune, compress, export and measure the winners, and the original network beside them.

    Reads the test split, here alone.

    A winner that the fine-tuning makes worse on the search split, beyond the noise, keeps its weights of the search.
    """
    chosen = choose_winners(prepared, record)
    architectures = [architecture_of(prepared.problem.space, trial) for trial in chosen]
    extra = [a for a in finished_originals(prepared) if a not in architectures]
    progress.start(FINISH_WINNERS, len(chosen) + len(extra) + 1, 0)
    done = []
    for architecture in [*architectures, *extra]:
        done.append(_finish(prepared, run, architecture, weights, record.user_attrs[CALIBRATION]))
        progress.advance(architecture.id)
        _warn_of_kept(prepared, done[-1])
    networks = [(d.architecture, d.folder) for d in done]
    if is_converted(prepared):
        networks.append((prepared.problem.space.largest(), run.original))
    variants = _measure(prepared, run, record, networks, len(chosen))
    progress.advance("measured on the test split")
    winners = zip(chosen, done, variants, strict=False)
    return (
        tuple(_winner(prepared, trial, d, v) for trial, d, v in winners),
        original_rows(prepared, run, networks, variants),
    )


def _warn_of_kept(prepared: Prepared, done: _Finished) -> None:
    if done.kept is not None:
        sentence = kept_sentence(done.fine_tuned, done.kept, prepared.problem.objectives[0])
        logger.warning(
            "%s: %s; a smaller learning rate in winners.recipe may help",
            done.architecture.id,
            sentence,
        )


def _finish(
    prepared: Prepared, run: RunDirectory, architecture: Architecture, weights: Weights, known: Known
) -> _Finished:
    """Make the files of one winner, as far as they aren't made."""
    study, folder = prepared.study, run.winners / architecture.id
    recipe = study.winners.recipe.without_memory_settings()
    inputs = [weights.digest, architecture.id, stable_repr(recipe), study.seed]
    step = Step(folder / "finished.json", inputs, file_names(prepared))
    outcome, faults = step.result(_Outcome), step.faults()
    tell_remade(folder, faults)
    if outcome is None or WEIGHTS in faults:
        checkpoint = folder / f"checkpoint-{digest(inputs)}.pt"
        outcome = _fine_tune_and_export(prepared, architecture, weights, known, checkpoint)
        step.store(asdict(outcome))
    elif faults:
        module = prepared.supernet.extract(architecture)
        load_weights(folder / WEIGHTS, module)
        export(prepared, architecture, on_cpu(module), folder)
        step.store(asdict(outcome))
    step.complete_digests()
    for leftover in folder.glob("checkpoint-*"):
        leftover.unlink()
    make_variants(prepared, folder)
    return _Finished(architecture, folder, outcome.fine_tuned, outcome.kept)


def _fine_tune_and_export(
    prepared: Prepared, architecture: Architecture, weights: Weights, known: Known, checkpoint: Path
) -> _Outcome:
    module = fine_tuned(prepared, architecture, weights, known, checkpoint)
    searched = weights.module(architecture)
    before, after = (final_quality(prepared, m, known) for m in (searched, module))
    is_worse = _better(prepared, before, after)
    export(prepared, architecture, on_cpu(searched) if is_worse else module, checkpoint.parent)
    return _Outcome(
        after.value, after.spread, after.unit, after.device, after.repeats, before if is_worse else None
    )


def _variant_names(prepared: Prepared) -> list[str]:
    return ["fp32", *(compression.name for compression in prepared.study.winners.passes)]


def fine_tuned(
    prepared: Prepared, architecture: Architecture, weights: Weights, known: Known, checkpoint: Path
) -> nn.Module:
    """Return an evaluated architecture, fine-tuned with the winners' recipe, on the CPU.

    The largest subnet teaches it, where that is the better of the two beyond their noise. Where it was hardly
    trained it would hold its student back.
    """
    study, splits = prepared.study, prepared.splits
    recipe = study.winners.recipe
    student, teacher = weights.module(architecture), weights.teacher()
    step = supervised_step(student, splits.task, recipe)
    if teacher is not None:
        by, of = (final_quality(prepared, module, known) for module in (teacher, student))
        if _better(prepared, by, of):
            step = distillation_step(student, teacher, splits.task, recipe)
    train(student, step, splits.train, recipe, seed=study.seed, device=prepared.device, checkpoint=checkpoint)
    recalibrate_on(student, splits.train, prepared.device)
    return on_cpu(student)


def _better(prepared: Prepared, by: Measurement, of: Measurement) -> bool:
    """Whether ``by`` is better than ``of`` beyond their noise."""
    cost = prepared.measured[0].objective.cost
    return cost(of.value) - cost(by.value) > by.spread + of.spread


def final_quality(prepared: Prepared, module: nn.Module, known: Known) -> Measurement:
    """Return the quality of a module on the whole search split, measured at length."""
    quality = prepared.measured[0]
    bench = Bench(prepared.splits.search, thorough=True, calibration=known[quality.objective.name])
    return _judged_in_the_end(prepared, quality, [prepared.candidate(module)], bench)[0]


def _judged_in_the_end(
    prepared: Prepared, objective: MeasuredObjective, candidates: Sequence[Candidate], bench: Bench
) -> list[Measurement]:
    """Return what an objective measures of winners; a device that is away is waited for."""
    of_device = objective is not prepared.measured[0]
    work = partial(judged, objective, candidates, bench, of_device=of_device)
    return waited_for(work, f"measuring {objective.objective.name!r} of the winners")


def _measure(
    prepared: Prepared,
    run: RunDirectory,
    record: optuna.Study,
    networks: Sequence[tuple[Architecture, Path]],
    num_winners: int,
) -> list[list[Variant]]:
    """Measure every variant of every network together, and mark the final front.

    It is the winners', which come first; others are marked where no variant of a winner dominates them.
    """
    names = _variant_names(prepared)
    files = [(a, name, folder / variant_file(name)) for a, folder in networks for name in names]
    inputs = [[str(path.name), file_digest(path)] for _, _, path in files]
    step = Step(run.winners / "measurements.json", inputs)
    stored = step.result(list[dict[str, Measurement]])
    if stored is None:
        candidates = [OnnxCandidate(path) for _, _, path in files]
        stored = [{} for _ in files]
        for objective in prepared.measured:
            name = objective.objective.name
            known = record.user_attrs[CALIBRATION][name]
            bench = Bench(prepared.splits.test, thorough=True, calibration=known)
            found = _judged_in_the_end(prepared, objective, candidates, bench)
            for row, measurement in zip(stored, found, strict=True):
                row[name] = measurement
        step.store([{name: m.to_json() for name, m in row.items()} for row in stored])
    measured_names = {o.objective.name for o in prepared.measured}
    if len(stored) != len(files) or any(row.keys() != measured_names for row in stored):
        raise damaged(step.path, f"the {sorted(measured_names)} of {len(files)} files are expected")
    values = []
    for (architecture, variant, path), measured in zip(files, stored, strict=True):
        size = Measurement(float(path.stat().st_size), 0.0, FILE_BYTES.unit, "", 1)
        values.append(
            {
                **counted_of_file(prepared, architecture, path, is_compressed=variant != names[0]),
                **measured,
                FILE_BYTES.name: size,
            }
        )
    objectives = [*prepared.problem.objectives, FILE_BYTES]
    costs = np.array([[o.cost(row[o.name].value) for o in objectives] for row in values])
    limits = prepared.problem.soft_limits
    exceeds = [tuple(n for n, limit in limits.items() if row[n].value > limit) for row in values]
    over = excess_over(limits, objectives, costs)
    on_front = _fronts(costs, over, num_winners * len(names))
    variants = [
        Variant(name, path.name, row, bool(front), exceeded)
        for (_, name, path), row, front, exceeded in zip(files, values, on_front, exceeds, strict=True)
    ]
    return [variants[start : start + len(names)] for start in range(0, len(variants), len(names))]


def _fronts(costs: FloatArray, over: FloatArray, num_judges: int) -> list[bool]:
    """Return which rows are on the front of the first ones, or would be if they were added to these alone."""
    judges = list(range(num_judges))
    front = list(pareto.constrained_non_dominated(costs[judges], over[judges]))
    others = ([*judges, row] for row in range(num_judges, len(costs)))
    front += [pareto.constrained_non_dominated(costs[rows], over[rows])[-1] for rows in others]
    return [bool(member) for member in front]


def _winner(prepared: Prepared, trial: FrozenTrial, done: _Finished, variants: list[Variant]) -> Winner:
    counts = prepared.counter.counts(prepared.problem.space.indices([done.architecture]))
    return Winner(
        id=done.architecture.id,
        trial=trial.number,
        choices=dict(done.architecture),
        macs=int(counts.macs[0]),
        num_params=int(counts.num_params[0]),
        predicted=_predicted_quality(prepared, trial),
        searched=measurements_of(trial),
        fine_tuned=done.fine_tuned,
        kept=done.kept,
        variants=tuple(variants),
        details=illustrate_winner(prepared, done.folder).parts,
    )


def _predicted_quality(prepared: Prepared, trial: FrozenTrial) -> float | None:
    predicted = predictions_of(trial).get(prepared.problem.objectives[0].name)
    return predicted[0] if predicted else None
