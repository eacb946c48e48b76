"""The stage that scores untrained networks before the search, which learns from them what they are worth."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace
from typing import final

import numpy as np
import optuna
import torch

from nas.agreement import spearman_rho
from nas.errors import StudyError
from nas.evaluation.costs import TRAINING_PASSES
from nas.evaluation.reinitialize import reinitialize
from nas.evaluation.zero_cost import SCORES, ScoredOn, applicable, score_untrained
from nas.inputs import place_inputs
from nas.knowledge import Knowledge
from nas.progress import SCORE_UNTRAINED, Progress
from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared
from nas.runner.progress import Silent
from nas.runner.steps import CachedStep, result_in
from nas.search.models.designs import draw_balanced_designs
from nas.search.record.trials import complete_trials
from nas.space import Architecture, FloatArray, IntArray
from nas.study import stable_repr

_PASSES = {"naswot": 1, "jacov": 3, "grad_norm": 3}
"""Passes of the batch through a network, a backward one counting twice; synflow's single item counts for nothing."""
_STORED_EVERY_S = 5.0
"""A kill loses no more than this."""


@final
@dataclass(frozen=True)
class ScoredNetworks:
    """What was computed, as it is stored.

    Args:
        planned: Positions of the architectures that the search learns from.
        scores: By id of the network, without choices of training and passes: values in the order of the settings; None
            where one isn't finite.
        seconds: What each score took, by name; making the networks too.
    """

    planned: tuple[tuple[int, ...], ...]
    scores: dict[str, list[float | None]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@final
class UntrainedNetworks:
    """Scores untrained networks of a study, each once, and keeps them in ``zero_cost.json``.

    Args:
        prepared: The study, which has ``zero_cost``.
        run: The directory.

    Raises:
        StudyError: the study's networks can have none of the scores.
    """

    def __init__(self, prepared: Prepared, run: RunDirectory) -> None:
        study, splits = prepared.study, prepared.splits
        assert study.zero_cost is not None
        self._prepared, self._settings = prepared, study.zero_cost
        inputs = [stable_repr(study.zero_cost), study.seed, splits.fingerprint]
        self._step = CachedStep(run.zero_cost, inputs)
        self.applicable = applicable(self._settings.scores, splits.inputs)
        if not self.applicable:
            raise StudyError(
                f"study {study.name!r} asks for the zero-cost scores {self._settings.scores}, which networks of ids "
                "don't have: name others, or leave zero_cost out."
            )
        self._names = tuple(name for name in self.applicable if name in SCORES)
        known = self._step.result(ScoredNetworks)
        self._known = known or ScoredNetworks(self._plan())
        if known is None:
            self._store()

    @property
    def known(self) -> ScoredNetworks:
        """What was computed so far."""
        return self._known

    @property
    def planned(self) -> IntArray:
        """``(n, num_choices)`` positions of the architectures that the search learns from."""
        return np.array(self._known.planned, dtype=np.int64)

    def _plan(self) -> tuple[tuple[int, ...], ...]:
        """Draw architectures: as many as take a small part of what the search's trainings take, in items passed."""
        study, settings = self._prepared.study, self._settings
        epochs = study.evaluations * study.recipe.epochs
        trainings = TRAINING_PASSES * epochs * len(self._prepared.splits.train)
        passes = settings.items * sum(_PASSES.get(name, 0) for name in self._names)
        count = int(settings.share * trainings / passes) if passes else settings.at_most
        count = min(max(count, settings.at_least), settings.at_most)
        rows = draw_balanced_designs(self._prepared.problem, count, np.random.default_rng(study.seed))
        return tuple(tuple(row) for row in rows.tolist())

    def score(self, indices: IntArray, progress: Progress) -> None:
        """Score the networks of ``(n, num_choices)`` positions, those that aren't yet."""
        networks = {network.id: network for network in self._networks(indices)}
        missing = [network for id_, network in networks.items() if id_ not in self._known.scores]
        if not missing or not self._names:
            return
        progress.start(SCORE_UNTRAINED, len(networks), len(networks) - len(missing))
        on, stored = self._batch(), time.perf_counter()
        for network in missing:
            self._add(network, on)
            progress.advance(network.id)
            if time.perf_counter() - stored > _STORED_EVERY_S:
                self._store()
                stored = time.perf_counter()
        self._store()

    def values(self, name: str, indices: IntArray) -> FloatArray:
        """Return a score of ``(n, num_choices)`` positions that were scored; NaN where it isn't finite."""
        if name not in SCORES:
            counts = self._prepared.counts(indices)
            return np.log(np.maximum({"parameters": counts.num_params, "macs": counts.macs}[name], 1))
        column, scores = self._names.index(name), self._known.scores
        found = [scores[network.id][column] for network in self._networks(indices)]
        return np.array([math.nan if value is None else value for value in found])

    def _networks(self, indices: IntArray) -> list[Architecture]:
        own = self._prepared.supernet.space
        return own.from_indices(indices[:, : len(own.choices)])

    def _batch(self) -> ScoredOn:
        split, task = self._prepared.splits.train, self._prepared.splits.task
        size = min(self._settings.items, len(split))
        rng = np.random.default_rng(self._prepared.study.seed)
        rows = torch.from_numpy(np.sort(rng.choice(len(split), size, replace=False)))
        device = self._prepared.training_device
        return ScoredOn(place_inputs(split.batch(rows), device), split.targets[rows].to(device), task)

    def _add(self, network: Architecture, on: ScoredOn) -> None:
        """Score the network with the weights that its training would begin with."""
        prepared, scores, seconds = self._prepared, self._known.scores, self._known.seconds
        seed, clock = prepared.study.seed, time.perf_counter()
        module = prepared.supernet.extract(network, config=False)
        reinitialize(module, seed)
        module.to(prepared.training_device)
        values = []
        for name in ("making the networks", *self._names):
            if name in SCORES:
                values.append(score_untrained(name, module, on, seed))
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - clock
            clock = time.perf_counter()
        scores[network.id] = [None if math.isnan(value) else value for value in values]

    def _store(self) -> None:
        self._step.store(asdict(self._known))


def know_untrained(prepared: Prepared, run: RunDirectory, progress: Progress) -> Prepared:
    """Return ``prepared`` with a problem that knows the scores of untrained networks, which are computed once."""
    if prepared.study.zero_cost is None:
        return prepared
    untrained = UntrainedNetworks(prepared, run)
    untrained.score(untrained.planned, progress)
    known = (*prepared.problem.knowledge, *_knowledge(untrained, prepared.problem.objectives[0].name))
    return replace(prepared, problem=replace(prepared.problem, knowledge=known))


def _knowledge(untrained: UntrainedNetworks, quality: str) -> list[Knowledge]:
    rows, found = untrained.planned, []
    for name in untrained.applicable:
        values = untrained.values(name, rows)
        finite = np.isfinite(values)
        if len(set(values[finite])) > 1:
            found.append(Knowledge(name, rows[finite], -values[finite], quality))  # as costs: less is better
    return found


def tell_untrained(prepared: Prepared, run: RunDirectory, record: optuna.Study) -> list[str]:
    """Return what scores of untrained networks cost, and how well they rank what was evaluated, which is scored too."""
    settings = prepared.study.zero_cost
    if settings is None:
        return []
    trials = complete_trials(record)
    space, quality = prepared.problem.space, prepared.problem.objectives[0].name
    evaluated = space.indices([space.architecture(trial.params) for trial in trials])
    untrained = UntrainedNetworks(prepared, run)
    untrained.score(evaluated, Silent())
    reached = np.array([trial.values[0] for trial in trials])
    ranked = [f"{name} {_rank(untrained.values(name, evaluated), reached)}" for name in untrained.applicable]
    seconds = untrained.known.seconds
    spent = ", ".join(f"{name} {spent:.0f}" for name, spent in seconds.items())
    left_out = [name for name in settings.scores if name not in untrained.applicable]
    return [
        f"{len(untrained.known.scores)} untrained networks were scored, {len(untrained.planned)} of them before the "
        f"search, in {sum(seconds.values()):.0f} seconds: {spent}.",
        f"Spearman's correlation of the scores with {quality} over {len(trials)} evaluated architectures: "
        f"{', '.join(ranked)}.",
        *[f"Not scored by {' and '.join(left_out)}: the network takes ids." for _ in left_out[:1]],
    ]


def seconds_scoring(run: RunDirectory) -> float:
    """Return what all scores of untrained networks took, over all attempts.

    Raises:
        DamagedFileError: the file is damaged.
        RunDirectoryError: it can't be read.
    """
    return sum(result_in(run.zero_cost, ScoredNetworks).seconds.values())


def _rank(values: FloatArray, reached: FloatArray) -> str:
    finite = np.isfinite(values)
    if len(set(values[finite])) < 2 or len(set(reached[finite])) < 2:
        return "unknown"
    told = f"{spearman_rho(values[finite], reached[finite]):.2f}"
    return told if finite.all() else f"{told} ({np.sum(~finite)} without a finite score)"
