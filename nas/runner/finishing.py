"""Winners: trained on, compressed, exported, measured again."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import optuna
from optuna.trial import FrozenTrial
from torch import nn

from nas.compression.pipeline import PLAIN, Lab
from nas.compression.structure import apply_changes, describe_changes
from nas.executors import run_all
from nas.export.folder import load_weights
from nas.export.names import WEIGHTS
from nas.files import digest
from nas.objective import Measurement
from nas.progress import FINISH_WINNERS
from nas.report.results import Original, Variant, Winner
from nas.report.tables import tell_kept
from nas.runner.choosing import choose_winners
from nas.runner.compressing import compress_in_search, lab_of
from nas.runner.context import RunContext
from nas.runner.exporting import export, file_names, on_cpu
from nas.runner.final_front import Finished, measure_variants
from nas.runner.fine_tuning import better_teacher, final_quality, finish_network, is_better
from nas.runner.illustrating import illustrate_winner
from nas.runner.measuring import CALIBRATION, Known
from nas.runner.original import is_converted, list_originals, original_rows, originals_variants
from nas.runner.preparation import Prepared
from nas.runner.steps import CachedStep, tell_remade
from nas.runner.variants import Made, Parent, make_variants, plain_variant, variant_pipelines
from nas.runner.workplace import Workplace
from nas.search.record.trials import architecture_of, measurements_of, predictions_of
from nas.space import Architecture
from nas.study import stable_repr

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class _Outcome:
    """The result of finishing a winner, as it is stored: its quality afterwards, and that of weights kept instead.

    Fields that files of older runs lack have defaults.
    """

    value: float
    spread: float
    unit: str
    device: str
    repeats: int
    kept: Measurement | None = None
    made: Made | None = None
    changes: Mapping[str, Any] | None = None

    @property
    def fine_tuned(self) -> Measurement:
        return Measurement(self.value, self.spread, self.unit, self.device, self.repeats)


def finish_winners(
    context: RunContext, record: optuna.Study, adapted: Mapping[int, float] = MappingProxyType({})
) -> tuple[tuple[Winner, ...], tuple[Original, ...]]:
    """Fine-tune, compress, export and measure the winners, and the original network beside them.

    This is the only place that reads the test split.

    A winner that becomes worse on the search split, beyond the noise, keeps the weights that it had in the search.
    """
    prepared, progress = context.prepared, context.progress
    chosen = choose_winners(prepared, record, adapted)
    winners = [architecture_of(prepared.problem.space, trial) for trial in chosen]
    wanted = [*winners, *(a for a in list_originals(prepared, context.weights) if a not in winners)]
    progress.start(FINISH_WINNERS, len(wanted) + 1, 0)
    finished = _finish_all(context, wanted, record.user_attrs[CALIBRATION])
    networks = [network for _, network in finished]
    if is_converted(prepared):
        networks.append(originals_variants(prepared, context.run))
    variants = measure_variants(context, record, networks, len(chosen))
    progress.advance("measured on the test split")
    rows = zip(chosen, finished, variants, strict=False)  # of the winners, which come first
    found = tuple(_winner(prepared, *row) for row in rows)
    return found, original_rows(prepared, context.run, networks, variants)


def _finish_all(
    context: RunContext, wanted: Sequence[Architecture], known: Known
) -> list[tuple[_Outcome, Finished]]:
    """Let the workers finish architectures, and report progress after each."""

    def tell(position: int, made: tuple[_Outcome, Finished]) -> None:
        context.progress.advance(wanted[position].id)
        _warn_of_kept(context.prepared, wanted[position], made[0])

    return run_all(context.workers, [partial(_finish, one, known) for one in wanted], tell)


def _warn_of_kept(prepared: Prepared, architecture: Architecture, outcome: _Outcome) -> None:
    if outcome.kept is not None:
        sentence = tell_kept(outcome.fine_tuned, outcome.kept, prepared.problem.objectives[0])
        logger.warning(
            "%s: %s; a smaller learning rate in winners.recipe may help",
            architecture.id,
            sentence,
        )


def _finish(architecture: Architecture, known: Known, here: Workplace) -> tuple[_Outcome, Finished]:
    """Make those files of one winner that don't exist yet."""
    making = _Making(here, architecture, known)
    outcome = making.find_outcome()
    made = making.make_variants(outcome)
    for leftover in making.folder.glob("passes-*"):
        shutil.rmtree(leftover)
    plain = outcome.made or plain_variant(here.prepared, architecture)
    return outcome, Finished(architecture, making.folder, (plain, *made))


@final
@dataclass(frozen=True)
class _Making:
    """The making of a winner's files.

    Args:
        here: Where it is done.
        architecture: The winner's.
        known: The calibration of every measured objective.
    """

    here: Workplace
    architecture: Architecture
    known: Known

    @property
    def folder(self) -> Path:
        return self.here.run.winners / self.architecture.id

    def find_outcome(self) -> _Outcome:
        """Make those float32 files that don't exist yet, and return the stored result."""
        prepared, study = self.here.prepared, self.here.prepared.study
        recipe = study.winners.recipe.fingerprint
        inputs = [self.here.weights.digest, self.architecture.id, recipe, study.seed]
        if study.pipeline.passes:
            inputs.append(stable_repr(study.pipeline))
        # Stored after the files, whose digests it keeps: a kill before that repeats the winner, and no half of one is
        # taken for whole.
        step = CachedStep(self.folder / "finished.json", inputs, file_names(prepared))
        outcome, faults = step.result(_Outcome), step.faults()
        tell_remade(self.folder, faults)
        if outcome is None or WEIGHTS in faults:
            outcome = self._train_and_export(scratch=self.folder / f"passes-{digest(inputs)}")
            step.store(asdict(outcome))
        elif faults:  # the weights are there: the other files follow from them
            self._export(self.load_exported(outcome), outcome)
            step.store(asdict(outcome))
        return outcome

    def _train_and_export(self, scratch: Path) -> _Outcome:
        """Finish the network and export it; or export that of the search, if it is better beyond the noise."""
        prepared, weights, architecture = self.here.prepared, self.here.weights, self.architecture
        finished = finish_network(prepared, architecture, weights, self.known, scratch)
        searched = compress_in_search(prepared, architecture, weights.module(architecture))
        before, after = (
            final_quality(prepared, made.candidate(prepared), self.known) for made in (searched, finished)
        )
        is_worse = is_better(prepared, before, after)
        shipped = searched if is_worse else finished
        outcome = _Outcome(
            after.value, after.spread, after.unit, after.device, after.repeats, before if is_worse else None
        )
        module = on_cpu(shipped.module)
        if prepared.study.pipeline.passes:
            cut = prepared.supernet.extract(prepared.network_of(architecture), config=False)
            made = Made(PLAIN, shipped.macs, shipped.num_params, shipped.plain.applied)
            outcome = replace(outcome, made=made, changes=describe_changes(cut, module))
        self._export(module, outcome)
        return outcome

    def _export(self, module: nn.Module, outcome: _Outcome) -> None:
        applied = () if outcome.made is None else outcome.made.applied
        export(self.here.prepared, self.architecture, module, self.folder, applied, outcome.changes)

    def load_exported(self, outcome: _Outcome) -> nn.Module:
        """Return the module that lies in the winner's folder."""
        prepared = self.here.prepared
        module = prepared.supernet.extract(prepared.network_of(self.architecture))
        if outcome.changes is not None:
            module = apply_changes(module, outcome.changes)
        load_weights(self.folder / WEIGHTS, module)
        return on_cpu(module)

    def make_variants(self, outcome: _Outcome) -> list[Made]:
        """Make the winner's variants, taught by the winner itself, or by the largest subnet where that is better."""
        prepared, weights = self.here.prepared, self.here.weights
        load = partial(self.load_exported, outcome)

        def lab(folder: Path) -> Lab:
            winner = load().to(prepared.training_device)
            better = better_teacher(prepared, weights, winner, self.known)
            return lab_of(prepared, folder, winner if better is None else better)

        pipelines = variant_pipelines(prepared, self.architecture)
        return make_variants(prepared, Parent(self.folder, load, lab), pipelines)


def _winner(
    prepared: Prepared, trial: FrozenTrial, finished: tuple[_Outcome, Finished], variants: list[Variant]
) -> Winner:
    outcome, network = finished
    plain = network.made[0]
    details = illustrate_winner(prepared, network.folder)
    return Winner(
        id=network.architecture.id,
        trial=trial.number,
        choices=dict(network.architecture),
        macs=plain.macs,
        num_params=plain.num_params,
        predicted=_find_predicted_quality(prepared, trial),
        searched=measurements_of(trial),
        fine_tuned=outcome.fine_tuned,
        kept=outcome.kept,
        variants=tuple(variants),
        details=details.parts,
        confusions=details.confusions,
    )


def _find_predicted_quality(prepared: Prepared, trial: FrozenTrial) -> float | None:
    predicted = predictions_of(trial).get(prepared.problem.objectives[0].name)
    return predicted[0] if predicted else None
