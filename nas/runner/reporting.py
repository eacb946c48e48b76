"""Collects the results of a run, and writes the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from nas.devices.machine import machine_facts
from nas.export.model_card import set_card, write_card
from nas.files import write_bytes, write_text
from nas.report.figures import front_png, hypervolume_png
from nas.report.results import Results, Winner
from nas.report.text import report_markdown
from nas.runner.choosing import goes_by_expectation
from nas.runner.context import RunContext
from nas.runner.delivery import report_step
from nas.runner.directory import RunDirectory
from nas.runner.measuring import tell_counted_on
from nas.runner.origin import outside_weights
from nas.runner.preparation import Prepared
from nas.runner.pretraining import read_pretraining
from nas.runner.proxy import read_choice
from nas.runner.searching import forecast_gain
from nas.runner.steps import tell_remade
from nas.runner.weights import EPOCHS
from nas.runner.zero_cost import seconds_scoring, tell_untrained
from nas.search.guard import tell_of_broken
from nas.search.models.heard import source_sentences
from nas.search.models.quality import quality_sentences
from nas.search.models.stand_alone import stand_alone_values
from nas.search.record.credibility import credible_front, doubts
from nas.search.record.reference_box import reference_box
from nas.search.record.trials import (
    ARCHITECTURE,
    ENDED,
    ERROR,
    REPEATS,
    SECONDS,
    complete_trials,
    costs_of,
    list_paid_trials,
    measurements_of,
)
from nas.space import FloatArray
from nas.splits import Splits
from nas.study import network_reference, stable_repr
from nas.task import Illustrated


def _sum_seconds(record: optuna.Study) -> float:
    """Return the seconds that proposing and evaluating took; those of killed attempts don't count."""
    return float(sum(trial.user_attrs.get(SECONDS, 0.0) for trial in list_paid_trials(record)))


def results_of(
    context: RunContext,
    record: optuna.Study,
    winners: tuple[Winner, ...],
    command: str,
    trained_seconds: float | None,
) -> Results:
    """Return what a run found, without what is compared with it.

    Args:
        context: The run.
        record: Study with the search's trials.
        winners: Finished.
        command: What the user typed.
        trained_seconds: How long the supernet was trained; None where there is none.
    """
    prepared = context.prepared
    objectives, trials = prepared.problem.objectives, complete_trials(record)
    costs, box = costs_of(objectives, trials), reference_box(record, objectives)
    failed = [t for t in list_paid_trials(record) if t.state == TrialState.FAIL]
    pretrained = read_pretraining(prepared, context.run)
    untrained = tell_untrained(prepared, context.run, record)
    before = {} if pretrained is None else {"pre-training": pretrained.seconds}
    trained = {} if trained_seconds is None else {"supernet": trained_seconds}
    scored = {"zero-cost scores": seconds_scoring(context.run)} if untrained else {}
    return Results(
        study=prepared.study.name,
        objectives=objectives,
        facts={
            **_describe_study(prepared),
            **_describe_search(prepared, record, trials),
            **_describe_run(context, trials),
            "zero_cost": untrained,
            "pretrained": None if pretrained is None else pretrained.describe(prepared.splits.facts.item),
            "command": command,
            "seconds": {**before, **trained, **scored, "search": _sum_seconds(record)},
        },
        trials=_count_trials(record, num_complete=len(trials), num_failed=len(failed)),
        failures=list(dict.fromkeys(t.user_attrs[ERROR] for t in failed if ERROR in t.user_attrs)),
        trial_numbers=[t.number for t in trials],
        ids=[t.user_attrs[ARCHITECTURE] for t in trials],
        values=[list(t.values) for t in trials],
        front=np.flatnonzero(credible_front(costs, prepared.problem.excess(costs))).tolist(),
        hypervolume=box.history(costs) if box else [],
        finished_hypervolume=box.hypervolume(_find_costs(prepared, winners)) if box else None,
        winners=winners,
        baselines=(),
        trust=None,
        proxy=asdict(read_choice(context.run)) if prepared.study.proxy is not None else None,
    )


def _count_trials(record: optuna.Study, *, num_complete: int, num_failed: int) -> dict[str, int]:
    everything = record.get_trials(deepcopy=False)
    return {
        "complete": num_complete,
        "failed": num_failed,
        "turned_down": sum(t.state == TrialState.PRUNED for t in everything),
        "repeated": sum(REPEATS in t.user_attrs for t in everything),
    }


def _describe_study(prepared: Prepared) -> dict[str, Any]:
    """Return what the report and the cards tell of the study besides numbers."""
    study, splits = prepared.study, prepared.splits
    return {
        "data": _describe_data(splits),
        "task": {**splits.facts.describe(), "examples": isinstance(splits.task, Illustrated)},
        "space": {
            "cardinality": f"{prepared.problem.space.cardinality():,}",
            "num_choices": len(prepared.problem.space.choices),
        },
        "network": f"{network_reference(study.network)['factory']}",
        "strategy": stable_repr(study.strategy),
        "recipe": stable_repr(study.recipe),
        **({} if study.pretraining is None else {"pretraining": stable_repr(study.pretraining)}),
        "training": stable_repr(study.training),
        "winners": stable_repr(study.winners),
        "pipeline": stable_repr(study.pipeline) if study.pipeline.passes else None,
        "searched_variant": study.pipeline.file_name or None,
    }


def _describe_data(splits: Splits) -> dict[str, Any]:
    return {
        "name": splits.name,
        "train": len(splits.train),
        "search": len(splits.search),
        "test": len(splits.test),
        "inputs": splits.inputs.describe(),
        "num_words": len(splits.vocabulary),
        "pixel_range": _pixel_range(splits),
        "mean": list(splits.mean),
        "std": list(splits.std),
        "fingerprint": splits.fingerprint,
        **({} if splits.unlabelled is None else {"unlabelled": len(splits.unlabelled)}),
        **({"shares": "; ".join(splits.notes)} if splits.notes else {}),
    }


def _describe_search(prepared: Prepared, record: optuna.Study, trials: list[FrozenTrial]) -> dict[str, Any]:
    """Return what they tell of the search."""
    objectives, gain = prepared.problem.objectives, forecast_gain(prepared, record)
    return {
        "soft_limits": [
            f"{sum(measurements_of(t)[name].value <= limit for t in trials)} of {len(trials)} have {name} of at "
            f"most {limit:g}, which was asked for."
            for name, limit in prepared.problem.soft_limits.items()
        ],
        "predicted": _tell_of_predictions(prepared, trials),
        "doubts": [*doubts(objectives, trials), *tell_of_broken(record)],
        "seed": prepared.study.seed,
        "ended": record.user_attrs.get(ENDED),
        "forecast": None if gain is None else str(gain),
        "winners_chosen_by": _tell_choice(prepared, record),
        "surrogate": quality_sentences(objectives, trials),
        "sources": source_sentences(prepared.problem, trials),
    }


def _describe_run(context: RunContext, trials: list[FrozenTrial]) -> dict[str, Any]:
    """Return what they tell of how and where it was done, and for what."""
    prepared = context.prepared
    return {
        "intended_use": prepared.study.intended_use,
        "hub_dataset": prepared.study.hub_dataset,
        "counted": tell_counted_on(prepared),
        "outside_weights": outside_weights(prepared, context.weights),
        "engine": _tell_engine(prepared),
        "machine": machine_facts(),
        "epochs": _count_candidates_by_epochs(trials),
    }


def _tell_engine(prepared: Prepared) -> str:
    """Return who answered for the quality in the search."""
    if prepared.runs_exported:
        return "ONNX Runtime"
    engine = f"PyTorch on {prepared.training_device.type}"
    return f"{engine} (ONNX Runtime where a pass made a file)" if prepared.study.pipeline.on_file else engine


def _tell_of_predictions(prepared: Prepared, trials: list[FrozenTrial]) -> list[str]:
    """Return a sentence for each objective that was only predicted of some candidates."""
    names = [objective.name for objective in prepared.problem.objectives]
    repeats = {name: [measurements_of(trial)[name].repeats for trial in trials] for name in names}
    return [
        f"{name} was measured of {sum(map(bool, found))} of {len(found)} candidates, and predicted of the others; "
        "winners were chosen among those measured."
        for name, found in repeats.items()
        if not all(found)
    ]


def _pixel_range(splits: Splits) -> list[float] | None:
    """Return the ends of raw pixels: of their type, or those in train; None where it takes reading a large file."""
    train, images = splits.train, splits.train.inputs
    if not splits.mean or isinstance(images, tuple):  # not of images
        return None
    if images.dtype == torch.uint8:
        return [0.0, 255.0]
    if train.mapped:
        return None
    ends = torch.stack([images.amin((0, 2, 3)), images.amax((0, 2, 3))]).double()
    if not train.mean:  # normalised already
        ends = ends * ends.new_tensor(splits.std) + ends.new_tensor(splits.mean)
        rounding = 1e-5 * ends.abs().max()
        ends = (ends / rounding).round() * rounding + 0.0  # and not -0
    return [float(ends.min()), float(ends.max())]


def _tell_choice(prepared: Prepared, record: optuna.Study) -> str:
    if not goes_by_expectation(prepared, record):
        return "their places on the search's front"
    count = len(stand_alone_values(record))
    return (
        f"what they were expected to reach on their own, given {count} architectures that had been trained so"
    )


def _count_candidates_by_epochs(trials: list[FrozenTrial]) -> dict[str, int]:
    """Return how many candidates that were trained from scratch got how many epochs; {} in a supernet."""
    given = [measurements_of(trial).get(EPOCHS) for trial in trials]
    counts = Counter(int(epochs.value) for epochs in given if epochs is not None)
    return {str(epochs): counts[epochs] for epochs in sorted(counts)}


def _find_costs(prepared: Prepared, winners: tuple[Winner, ...]) -> FloatArray:
    """Return the winners' costs on the search split, with the weights exported, ``(n, num_objectives)``."""
    quality, *others = prepared.problem.objectives
    rows = [
        [quality.cost(w.exported.value), *(o.cost(w.searched[o.name].value) for o in others)] for w in winners
    ]
    return np.array(rows)


def write_report(directory: RunDirectory, results: Results, outdated: Mapping[str, str]) -> None:
    """Write the report, cards and pictures, and say which of the earlier ones had been changed or damaged."""
    results.save(directory.results)
    for winner in results.winners:
        write_card(directory.winners / winner.id, results, winner)
    write_text(directory.winners / "README.md", set_card(results))
    write_bytes(directory.front, front_png(results))
    write_bytes(directory.hypervolume, hypervolume_png(results))
    write_text(directory.report, report_markdown(results))
    # Last, because it keeps the digests of all files above.
    step = report_step(directory, results)
    step.store(None)
    tell_remade(directory.path, {name: outdated[name] for name in step.files if name in outdated})
