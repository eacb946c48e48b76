"""Candidates near the front are trained on for a few steps each before winners are chosen among them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, final

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial
from torch import nn

from nas.executors import run_all
from nas.objective import Measurement, Objective
from nas.progress import ADAPT_CANDIDATES
from nas.report.tables import format_value, label
from nas.runner.choosing import goes_by_expectation, near_front
from nas.runner.compressing import compress_in_search
from nas.runner.context import RunContext
from nas.runner.fine_tuning import final_quality
from nas.runner.measuring import CALIBRATION, Known
from nas.runner.steps import CachedStep
from nas.runner.workplace import Workplace
from nas.search.record.trials import architecture_of, measurements_of
from nas.space import Architecture
from nas.splits import Split, Splits
from nas.study import Adaptation, Study, stable_repr
from nas.supernet.copying import copy_module
from nas.supernet.recalibrate import recalibrate_on
from nas.training import Recipe, train
from nas.training.steps import make_supervised_step

_FIRST = 8
"""Candidates that are adapted to learn whether more should be: with fewer, a mean gain says little."""


@final
@dataclass(frozen=True)
class Adapted:
    """The result of adapting candidates.

    Args:
        qualities: Qualities after adaptation, by trial number; {} if winners are chosen by the values of the search.
        sentence: What was done, for people; None where nothing was.
        seconds: Time that it took.
    """

    qualities: Mapping[int, float] = field(default_factory=dict)
    sentence: str | None = None
    seconds: float = 0.0

    def add_to_facts(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the facts of a report with what was done here among them."""
        told = {**facts, "adaptation": self.sentence}
        if self.sentence is not None:
            told["seconds"] = {**facts["seconds"], "adaptation": self.seconds}
        if self.qualities:
            told["winners_chosen_by"] = (
                "what candidates near the front reached after a few steps of their own"
            )
        return told


@final
@dataclass(frozen=True)
class Reached:
    """The result of adapting one candidate, as it is stored."""

    quality: Measurement
    seconds: float


def adapt_candidates(context: RunContext, record: optuna.Study) -> Adapted:
    """Train candidates near the front for a few steps each, where that is worth more than the noise.

    Eight of them show whether it is. Nothing is done where candidates are trained from scratch, where the search
    knows already what architectures reach on their own, and where too few candidates were evaluated.
    """
    prepared, progress, plan = context.prepared, context.progress, context.prepared.study.winners.adaptation
    if plan is None or not context.weights.are_shared or goes_by_expectation(prepared, record):
        return Adapted()
    near = near_front(prepared, record, plan.candidates)
    if len(near) < max(_FIRST, prepared.study.winners.count + 1):
        return Adapted()
    progress.start(ADAPT_CANDIDATES, len(near), 0)
    adapting = _Adapting(context, record.user_attrs[CALIBRATION])
    # Spread over the order of preference, so that the mean gain is that of all and not of the front alone.
    adapting.adapt([near[position * len(near) // _FIRST] for position in range(_FIRST)])
    quality = prepared.problem.objectives[0]
    is_worth_it = pays(quality, adapting.pairs)
    if is_worth_it:
        adapting.adapt([trial for trial in near if trial.number not in adapting.reached])
    sentence = _sentence(plan, quality, adapting.pairs, is_worth_it=is_worth_it)
    progress.say(sentence)
    reached = adapting.reached
    qualities = {number: found.quality.value for number, found in reached.items()} if is_worth_it else {}
    return Adapted(qualities, sentence, sum(found.seconds for found in reached.values()))


@final
class _Adapting:
    """An adaptation that is in progress.

    Args:
        context: The run.
        known: The calibration of every measured objective.

    Attributes:
        reached: Qualities after adaptation, by trial number.
        pairs: Qualities with shared weights, and after adaptation, in the same order.
    """

    def __init__(self, context: RunContext, known: Known) -> None:
        self._context, self._known = context, known
        self.reached: dict[int, Reached] = {}
        self.pairs: list[tuple[Measurement, Measurement]] = []

    def adapt(self, trials: Sequence[FrozenTrial]) -> None:
        """Let the workers adapt trials' architectures."""
        problem = self._context.prepared.problem

        def note(position: int, found: Reached) -> None:
            before = measurements_of(trials[position])[problem.objectives[0].name]
            self.reached[trials[position].number] = found
            self.pairs.append((before, found.quality))
            told = f"{before.value:.4f} in the search, {found.quality.value:.4f} adapted"
            self._context.progress.advance(told)

        works = [partial(adapt_candidate, architecture_of(problem.space, t), self._known) for t in trials]
        run_all(self._context.workers, works, note)


def pays(quality: Objective, pairs: Sequence[tuple[Measurement, Measurement]]) -> bool:
    """Whether adaptation gains more, on average, than the noise of one gain.

    If it gains less, the values with shared weights are as good as the items allow. If it gains more, the shared
    weights hold candidates back, and perhaps some more than others, which would change their order.

    Args:
        quality: Objective that was measured.
        pairs: Qualities with shared weights, and after adaptation.
    """
    gains = [quality.cost(before.value) - quality.cost(after.value) for before, after in pairs]
    return bool(np.mean(gains) > np.mean([np.hypot(before.spread, after.spread) for before, after in pairs]))


def _sentence(
    plan: Adaptation,
    quality: Objective,
    pairs: Sequence[tuple[Measurement, Measurement]],
    *,
    is_worth_it: bool,
) -> str:
    before, after = (
        format_value(float(np.mean([pair[side].value for pair in pairs])), quality) for side in (0, 1)
    )
    told = (
        f"{len(pairs)} candidates near the front were trained for {plan.steps} steps each, and had {after} after "
        f"{before} of {label(quality.name)} on average"
    )
    if is_worth_it:
        return f"{told}: more than the noise, so winners were chosen by what these reached"
    return f"{told}: no more than the noise, so winners were chosen by the search's values"


def adapt_candidate(architecture: Architecture, known: Known, here: Workplace) -> Reached:
    """Return the quality of a candidate after a few steps of training; done once."""
    prepared, weights, plan = here.prepared, here.weights, here.prepared.study.winners.adaptation
    assert plan is not None
    study = prepared.study
    inputs: list[Any] = [
        weights.digest,
        architecture.id,
        study.winners.recipe.fingerprint,
        plan.steps,
        study.seed,
    ]
    if study.pipeline.passes:
        inputs.append(stable_repr(study.pipeline))
    step = CachedStep(here.run.adapted / f"{architecture.id}.json", inputs)
    stored = step.result(Reached)
    if stored is None:
        begin = time.perf_counter()
        module = train_briefly(
            study, prepared.splits, weights.module(architecture), plan.steps, prepared.training_device
        )
        made = compress_in_search(prepared, architecture, module)
        quality = final_quality(prepared, made.candidate(prepared), known)
        stored = Reached(quality, time.perf_counter() - begin)
        step.store({"quality": stored.quality.to_json(), "seconds": stored.seconds})
    return stored


def train_briefly(
    study: Study, splits: Splits, module: nn.Module, steps: int, device: torch.device
) -> nn.Module:
    """Return a copy of a network after so many steps with the winners' recipe, learning from the targets alone."""
    network = copy_module(module).to(device)  # what is frozen stays so
    data, recipe = _short(splits.train, study.winners.recipe, steps, study.seed)
    step = make_supervised_step(network, splits.task, recipe)
    train(network, step, data, recipe, seed=study.seed, device=device)
    if study.recalibration:
        recalibrate_on(network, splits.train, device, study.recalibration)
    return network.eval()


def _short(split: Split, recipe: Recipe, steps: int, seed: int) -> tuple[Split, Recipe]:
    """Return data and a recipe of about so many steps: whole epochs, or one epoch of random items of many."""
    wanted = steps * recipe.batch_size
    if wanted >= len(split):
        return split, replace(recipe, epochs=round(wanted / len(split)))
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:wanted]
    return split.subset(rows), replace(recipe, epochs=1)
