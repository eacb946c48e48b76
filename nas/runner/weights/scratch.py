"""Weights of its own for every candidate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import optuna
from torch import nn

from nas import pareto
from nas.errors import StudyError
from nas.evaluation.from_scratch import FromScratch, fresh_module, fresh_network, train_from_scratch
from nas.export.folder import load_weights, save_weights
from nas.files import digest
from nas.objective import Measurement
from nas.objectives import Bench
from nas.progress import Progress
from nas.runner.compressing import compress_in_search
from nas.runner.directory import RunDirectory
from nas.runner.measuring import Known, PartialEvaluation, count_ahead, evaluate_architecture
from nas.runner.preparation import Prepared
from nas.runner.steps import CachedStep, tell_remade
from nas.runner.weights.protocol import EvaluationBasis
from nas.search.record.credibility import credible_front
from nas.search.record.trials import ARCHITECTURE, by_completion, complete_trials, costs_of, measurements_of
from nas.space import Architecture, FloatArray
from nas.study import stable_repr
from nas.training import ALONE, Ranks, Recipe, make_supervised_step, train

EPOCHS = "epochs"
"""Name under which a trial's measurements tell how long its candidate was trained."""


def train_alone(
    prepared: Prepared, architecture: Architecture, recipe: Recipe, checkpoint: Path
) -> nn.Module:
    """Return an architecture as a plain module, trained with ``recipe`` from weights that are drawn anew."""
    return train_from_scratch(
        prepared.study.network,
        prepared.network_of(architecture),
        prepared.splits.train,
        prepared.splits.task,
        recipe,
        seed=prepared.study.seed,
        device=prepared.training_device,
        checkpoint=checkpoint,
    )


@final
class ScratchWeights:
    """Every candidate is trained from random weights, past the hurdles that it clears.

    Its quality at every hurdle and the epochs it was given are among its trial's measurements, so the
    hurdles are a function of the record, and a resumed search meets the same ones.

    Args:
        prepared: The study.
        run: Keeps candidates' weights, and checkpoints of the one in training.
        how: The study's training.
    """

    are_shared = False

    def __init__(self, prepared: Prepared, run: RunDirectory, how: FromScratch) -> None:
        self._prepared, self._run, self._how = prepared, run, how
        self._candidates = run.candidates
        self._rungs = how.rungs(prepared.study.recipe.epochs)

    @property
    def come_with_network(self) -> bool:
        """Whether some are frozen: all others are drawn anew."""
        return any(not parameter.requires_grad for parameter in self._prepared.supernet.parameters())

    @cached_property
    def digest(self) -> str:
        """Digest of everything that a candidate's training depends on."""
        study, data = self._prepared.study, self._prepared.splits.fingerprint
        return digest([study.recipe.fingerprint, stable_repr(self._how), study.seed, data])

    def train(self, progress: Progress, ranks: Ranks = ALONE) -> None:
        """Train nothing: candidates share nothing."""
        if ranks.size > 1:
            raise StudyError(
                f"study {self._prepared.study.name!r} has no supernet that several processes could train: run it in "
                "one."
            )

    def load(self) -> None:
        """Load nothing."""

    def find_basis(self, record: optuna.Study) -> EvaluationBasis:
        """Return the costs at the hurdles so far, and forget the weights of candidates that can't win any more."""
        self._tidy(record)
        # By the time of their end: a trial that ends late must not change a height.
        finished = by_completion(complete_trials(record)) if self._how.hurdles is not None else []
        earlier = tuple(tuple(self._costs_at_hurdles(measurements_of(trial))) for trial in finished)
        return EvaluationBasis(record.study_name, earlier)

    def evaluate(
        self, prepared: Prepared, architecture: Architecture, known: Known, basis: EvaluationBasis
    ) -> PartialEvaluation:
        """Train a candidate, as far as it clears the hurdles, evaluate it, and keep its weights.

        Its checkpoints stay until it is measured, lest it be trained again after a device was away.
        """
        module, reached, epochs = self._train_with_hurdles(architecture, known, basis)
        model = compress_in_search(prepared, architecture, module)
        evaluation = evaluate_architecture(prepared, architecture, model, known)
        given = {**reached, EPOCHS: Measurement(float(epochs), 0.0, "epochs", "", 1)}
        leftovers = self._keep(architecture, module, self._candidates / basis.record)
        return PartialEvaluation({**evaluation.results, **given}, evaluation.network, leftovers)

    def _train_with_hurdles(
        self, architecture: Architecture, known: Known, basis: EvaluationBasis
    ) -> tuple[nn.Module, dict[str, Measurement], int]:
        """Train from hurdle to hurdle; return the network, its quality at each, and the epochs given."""
        prepared = self._prepared
        network = prepared.network_of(architecture)
        module = fresh_module(prepared.study.network, network, prepared.study.seed)
        counted = count_ahead(prepared, architecture)
        reached: dict[str, Measurement] = {}
        rungs = self._rungs_of(architecture)
        for rung, epochs in enumerate(rungs):
            self._train_to(rung, epochs, module, self._candidates / basis.record / architecture.id)
            if self._how.hurdles is None:
                break
            reached[self._name(rung)] = self._quality(module, known)
            costs = self._costs_at_hurdles({**counted, **reached})
            last = rung + 1 == len(rungs)
            if last or not self._how.hurdles.cleared(rung, costs[rung], basis.earlier):
                break
        return module, reached, sum(rungs[: rung + 1])

    def _rungs_of(self, architecture: Architecture) -> list[int]:
        return self._how.rungs(self._prepared.study.recipe_of(architecture).epochs)

    def _train_to(self, rung: int, epochs: int, module: nn.Module, place: Path) -> None:
        """Train from the hurdle before to this one; the checkpoint's name begins with ``place``."""
        prepared = self._prepared
        recipe = dataclasses.replace(prepared.study.recipe, epochs=epochs)
        train(
            module,
            make_supervised_step(module, prepared.splits.task, recipe),
            prepared.splits.train,
            recipe,
            seed=prepared.study.seed + rung,
            device=prepared.training_device,
            checkpoint=place.with_name(f"{place.name}-{rung}.pt"),
        )

    def _name(self, rung: int) -> str:
        return f"{self._prepared.problem.objectives[0].name}@{sum(self._rungs[: rung + 1])}"

    def _quality(self, module: nn.Module, known: Known) -> Measurement:
        prepared, quality = self._prepared, self._prepared.measured[0]
        bench = Bench(prepared.splits.search, thorough=False, calibration=known[quality.objective.name])
        return quality.measure([prepared.candidate(module)], bench)[0].check_unit(quality.objective.name)

    def _costs_at_hurdles(self, known: Mapping[str, Measurement]) -> list[FloatArray]:
        """Return, for every hurdle that was reached, the quality's cost there and the counted costs."""
        quality, *others = self._prepared.problem.objectives
        ahead = {o.objective.name for o in self._prepared.counted if self._prepared.study.knows_ahead(o)}
        counted = [o.cost(known[o.name].value) for o in others if o.name in ahead]
        names = [self._name(rung) for rung in range(len(self._rungs)) if self._name(rung) in known]
        return [np.array([quality.cost(known[name].value), *counted]) for name in names]

    def _tidy(self, record: optuna.Study) -> None:
        """Forget the weights of trials that others dominate: they can't win any more."""
        folder = self._candidates / record.study_name
        trials = complete_trials(record)
        costs = costs_of(self._prepared.problem.objectives, trials)
        can_win = pareto.non_dominated(costs) | credible_front(costs, np.zeros(len(costs)))
        for trial, keep in zip(trials, can_win, strict=True):
            if not keep:
                for kind in ("safetensors", "json"):
                    (folder / f"{trial.user_attrs[ARCHITECTURE]}.{kind}").unlink(missing_ok=True)

    def _keep(self, architecture: Architecture, module: nn.Module, folder: Path) -> tuple[Path, ...]:
        """Write a candidate's weights, and return its checkpoints."""
        save_weights(folder / f"{architecture.id}.safetensors", module)
        self._step(architecture, folder).store(None)
        return tuple(folder.glob(f"{architecture.id}-*.pt*"))

    def _step(self, architecture: Architecture, folder: Path) -> CachedStep:
        inputs, weights = [self.digest, architecture.id], f"{architecture.id}.safetensors"
        return CachedStep(folder / f"{architecture.id}.json", inputs, (weights,))

    def module(self, architecture: Architecture) -> nn.Module:
        """Return a member of the front as it was trained; it is trained again where its file is damaged or gone."""
        folder = self._candidates / self._run.record_name(self._prepared.study.name)
        weights = folder / f"{architecture.id}.safetensors"
        faults = self._step(architecture, folder).faults()
        if not weights.exists():  # nor does the file with its digest
            faults = {weights.name: "is missing"}
        if faults:
            tell_remade(folder, faults)
            self._train_again(architecture, folder)
        fresh = fresh_network(self._prepared.study.network, self._prepared.study.seed)
        module = fresh.extract(self._prepared.network_of(architecture))
        load_weights(weights, module)
        return module.to(self._prepared.training_device).eval()

    def _train_again(self, architecture: Architecture, folder: Path) -> None:
        """Train an evaluated architecture for as many epochs as it was given."""
        study, objectives = self._prepared.study, self._prepared.problem.objectives
        trials = complete_trials(self._run.open_study(study.name, objectives, None))
        given = next(measurements_of(t) for t in trials if t.user_attrs[ARCHITECTURE] == architecture.id)
        module = fresh_module(study.network, self._prepared.network_of(architecture), study.seed)
        rungs = self._rungs_of(architecture)
        for rung, epochs in enumerate(rungs):
            if sum(rungs[:rung]) < given[EPOCHS].value:
                self._train_to(rung, epochs, module, folder / architecture.id)
        for leftover in self._keep(architecture, module, folder):
            leftover.unlink()

    def teacher(self) -> None:
        """Return None: there is no teacher."""
