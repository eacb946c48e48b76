"""Where a candidate's weights come from: the supernet, or a training of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

import numpy as np
import optuna
from torch import nn

from nas import pareto
from nas.evaluation.from_scratch import FromScratch, fresh_module, fresh_network
from nas.export.folder import load_weights, save_weights
from nas.files import digest, file_digest
from nas.objective import Measurement
from nas.protocols import Bench
from nas.runner.compressing import compressed_in_search
from nas.runner.directory import RunDirectory
from nas.runner.measuring import Known, counted_ahead, measurements
from nas.runner.preparation import Prepared
from nas.runner.sparing import Sparing
from nas.runner.steps import Step, tell_remade
from nas.search.record import (
    ARCHITECTURE,
    by_completion,
    complete_trials,
    costs_of,
    credible_front,
    measurements_of,
)
from nas.search.spared import SparedStanding
from nas.space import Architecture, FloatArray
from nas.study import stable_repr
from nas.supernet.recalibrate import extract_recalibrated
from nas.training import supervised_step, train

EPOCHS = "epochs"
"""Name under which a trial's measurements tell how long its candidate was trained."""


@final
@dataclass(frozen=True)
class Standing:
    """What judging a candidate rests on besides its architecture, as the record is when it begins.

    Args:
        record: Name of the record.
        earlier: By finished trial, in the order of their ends: the costs at every hurdle that it reached.
        spared: Of every latency that is measured of few candidates alone.
    """

    record: str
    earlier: tuple[tuple[FloatArray, ...], ...] = ()
    spared: tuple[SparedStanding, ...] = ()


class Weights(Protocol):
    """Gives candidates their weights."""

    @property
    def digest(self) -> str:
        """Tells whether two runs gave their candidates the same weights."""

    def standing(self, record: optuna.Study) -> Standing:
        """Return what judging one more candidate for a record rests on; where the record is written."""

    def judge(
        self, prepared: Prepared, architecture: Architecture, known: Known, standing: Standing
    ) -> Mapping[str, Measurement]:
        """Evaluate an architecture, on the search split of ``prepared``."""

    def module(self, architecture: Architecture) -> nn.Module:
        """Return an evaluated architecture with the weights that it was judged with."""

    def teacher(self) -> nn.Module | None:
        """Return what a winner learns from besides the targets."""


def weights_of(prepared: Prepared, run: RunDirectory) -> Weights:
    """Return where a study's candidates get their weights; its supernet, where it has one, is trained."""
    if isinstance(prepared.study.training, FromScratch):
        return ScratchWeights(prepared, run)
    return SupernetWeights(prepared, run)


@final
class SupernetWeights:
    """Every candidate is cut from the trained supernet.

    Args:
        prepared: Holds the supernet, trained.
        run: Holds its file.
    """

    def __init__(self, prepared: Prepared, run: RunDirectory) -> None:
        self._prepared, self._sparing = prepared, Sparing(prepared)
        self.digest = file_digest(run.supernet / "weights.safetensors")

    def standing(self, record: optuna.Study) -> Standing:
        """Return the record's name, and which latencies it holds: the supernet is all else there is."""
        return Standing(record.study_name, spared=self._sparing.standing(record))

    def judge(
        self, prepared: Prepared, architecture: Architecture, known: Known, standing: Standing
    ) -> Mapping[str, Measurement]:
        """Cut a subnet, recalibrate and measure it."""
        predict = self._sparing.predict(architecture, standing.spared)
        model = compressed_in_search(prepared, architecture, self.module(architecture))
        return measurements(prepared, architecture, model, known, predict)

    def module(self, architecture: Architecture) -> nn.Module:
        """Return a recalibrated subnet."""
        prepared = self._prepared
        items, network = prepared.study.recalibration, prepared.network_of(architecture)
        return extract_recalibrated(prepared.supernet, network, prepared.splits.train, items)

    def teacher(self) -> nn.Module:
        """Return the largest subnet."""
        return self.module(self._prepared.problem.space.largest())


@final
class ScratchWeights:
    """Every candidate is trained from random weights, past the hurdles that it clears.

    Its quality at every hurdle and the epochs it was given are among its trial's measurements, so the
    hurdles are a function of the record, and a resumed search meets the same ones.

    Args:
        prepared: The study's ``training`` is ``FromScratch``.
        run: Keeps candidates' weights, and checkpoints of the one in training.
    """

    def __init__(self, prepared: Prepared, run: RunDirectory) -> None:
        study = prepared.study
        assert isinstance(study.training, FromScratch)
        self._sparing = Sparing(prepared)
        self._prepared, self._candidates, self._how = prepared, run.candidates, study.training
        self._run, self._record_name = run, run.record_name(study.name)
        self._rungs = study.training.rungs(study.recipe.epochs)
        inputs = [
            study.recipe.fingerprint,
            stable_repr(study.training),
            study.seed,
            prepared.splits.fingerprint,
        ]
        self.digest = digest(inputs)

    def standing(self, record: optuna.Study) -> Standing:
        """Return the costs at the hurdles so far, and forget the weights of candidates that can't win any more."""
        self._tidy(record)
        # By the time of their end: a trial that ends late must not change a height.
        finished = by_completion(complete_trials(record)) if self._how.hurdles is not None else []
        earlier = tuple(tuple(self._costs_at_hurdles(measurements_of(trial))) for trial in finished)
        return Standing(record.study_name, earlier, self._sparing.standing(record))

    def judge(
        self, prepared: Prepared, architecture: Architecture, known: Known, standing: Standing
    ) -> Mapping[str, Measurement]:
        """Train a candidate, as far as it clears the hurdles, measure it, and keep its weights."""
        predict = self._sparing.predict(architecture, standing.spared)
        module, reached, epochs = self._trained(architecture, known, standing)
        model = compressed_in_search(prepared, architecture, module)
        results = measurements(prepared, architecture, model, known, predict)
        self._keep(architecture, module, self._candidates / standing.record)
        return {**results, **reached, EPOCHS: Measurement(float(epochs), 0.0, "epochs", "", 1)}

    def _trained(
        self, architecture: Architecture, known: Known, standing: Standing
    ) -> tuple[nn.Module, dict[str, Measurement], int]:
        """Train from hurdle to hurdle; return the network, its quality at each, and the epochs given."""
        prepared = self._prepared
        network = prepared.network_of(architecture)
        module = fresh_module(prepared.study.network, network, prepared.study.seed)
        counted = counted_ahead(prepared, architecture)
        reached: dict[str, Measurement] = {}
        rungs = self._rungs_of(architecture)
        for rung, epochs in enumerate(rungs):
            self._train_to(rung, epochs, module, self._candidates / standing.record / architecture.id)
            if self._how.hurdles is None:
                break
            reached[self._name(rung)] = self._quality(module, known)
            costs = self._costs_at_hurdles({**counted, **reached})
            last = rung + 1 == len(rungs)
            if last or not self._how.hurdles.cleared(rung, costs[rung], standing.earlier):
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
            supervised_step(module, prepared.splits.task, recipe),
            prepared.splits.train,
            recipe,
            seed=prepared.study.seed + rung,
            device=prepared.device,
            checkpoint=place.with_name(f"{place.name}-{rung}.pt"),
        )

    def _name(self, rung: int) -> str:
        return f"{self._prepared.problem.objectives[0].name}@{sum(self._rungs[: rung + 1])}"

    def _quality(self, module: nn.Module, known: Known) -> Measurement:
        prepared, quality = self._prepared, self._prepared.measured[0]
        bench = Bench(prepared.splits.search, thorough=False, calibration=known[quality.objective.name])
        return quality.measure([prepared.candidate(module)], bench)[0].checked(quality.objective.name)

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

    def _keep(self, architecture: Architecture, module: nn.Module, folder: Path) -> None:
        """Write a candidate's weights; its checkpoints have served."""
        save_weights(folder / f"{architecture.id}.safetensors", module)
        self._step(architecture, folder).store(None)
        for leftover in folder.glob(f"{architecture.id}-*.pt*"):
            leftover.unlink()

    def _step(self, architecture: Architecture, folder: Path) -> Step:
        inputs, weights = [self.digest, architecture.id], f"{architecture.id}.safetensors"
        return Step(folder / f"{architecture.id}.json", inputs, (weights,))

    def module(self, architecture: Architecture) -> nn.Module:
        """Return a member of the front as it was trained; it is trained again where its file is damaged or gone."""
        folder = self._candidates / self._record_name
        weights = folder / f"{architecture.id}.safetensors"
        faults = self._step(architecture, folder).faults()
        if not weights.exists():  # older runs kept no digest
            faults = {weights.name: "is missing"}
        if faults:
            tell_remade(folder, faults)
            self._train_again(architecture, folder)
        fresh = fresh_network(self._prepared.study.network, self._prepared.study.seed)
        module = fresh.extract(self._prepared.network_of(architecture))
        load_weights(weights, module)
        return module.to(self._prepared.device).eval()

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
        self._keep(architecture, module, folder)

    def teacher(self) -> None:
        """There is none."""
