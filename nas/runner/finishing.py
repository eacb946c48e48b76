"""Winners: trained on, compressed, exported, measured again."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import optuna
from optuna.trial import FrozenTrial
from torch import nn

from nas.compression.pipeline import PLAIN, Lab
from nas.compression.structure import changes_between, with_changes
from nas.executors import all_done
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
from nas.runner.steps import Step, tell_remade
from nas.runner.variants import Made, make_variant, plain_variant, variant_pipelines
from nas.runner.weights import Weights
from nas.runner.workplace import Workplace
from nas.search.record.trials import architecture_of, measurements_of, predictions_of
from nas.space import Architecture
from nas.study import stable_repr

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class _Outcome:
    """What finishing a winner came to, as it is stored: a measurement after it, and of the weights kept instead.

    Fields that older records lack have defaults.
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

    Reads the test split, here alone.

    A winner that this makes worse on the search split, beyond the noise, keeps its weights of the search.
    """
    prepared, run, progress = context.prepared, context.run, context.progress
    chosen = choose_winners(prepared, record, adapted)
    architectures = [architecture_of(prepared.problem.space, trial) for trial in chosen]
    extra = [a for a in list_originals(prepared, context.weights) if a not in architectures]
    progress.start(FINISH_WINNERS, len(chosen) + len(extra) + 1, 0)
    wanted = [*architectures, *extra]

    def tell(position: int, made: tuple[_Outcome, Finished]) -> None:
        progress.advance(wanted[position].id)
        _warn_of_kept(prepared, wanted[position], made[0])

    known = record.user_attrs[CALIBRATION]
    finished = all_done(
        context.workers,
        [partial(_finish, architecture, known) for architecture in wanted],
        tell,
    )
    outcomes, networks = [outcome for outcome, _ in finished], [network for _, network in finished]
    if is_converted(prepared):
        networks.append(originals_variants(prepared, run))
    variants = measure_variants(prepared, run, record, networks, len(chosen))
    progress.advance("measured on the test split")
    winners = zip(chosen, outcomes, networks, variants, strict=False)
    return (
        tuple(_winner(prepared, *row) for row in winners),
        original_rows(prepared, run, networks, variants),
    )


def _warn_of_kept(prepared: Prepared, architecture: Architecture, outcome: _Outcome) -> None:
    if outcome.kept is not None:
        sentence = tell_kept(outcome.fine_tuned, outcome.kept, prepared.problem.objectives[0])
        logger.warning(
            "%s: %s; a smaller learning rate in winners.recipe may help",
            architecture.id,
            sentence,
        )


def _finish(architecture: Architecture, known: Known, here: Workplace) -> tuple[_Outcome, Finished]:
    """Make the files of one winner, as far as they aren't made."""
    prepared, weights = here.prepared, here.weights
    study, folder = prepared.study, here.run.winners / architecture.id
    inputs = [weights.digest, architecture.id, study.winners.recipe.fingerprint, study.seed]
    if study.pipeline.passes:
        inputs.append(stable_repr(study.pipeline))
    step = Step(folder / "finished.json", inputs, file_names(prepared))
    outcome, faults = step.result(_Outcome), step.faults()
    tell_remade(folder, faults)
    if outcome is None or WEIGHTS in faults:
        outcome = _train_and_export(prepared, architecture, weights, known, folder, digest(inputs))
        step.store(asdict(outcome))
    elif faults:
        export(
            prepared,
            architecture,
            _load_exported(prepared, architecture, folder, outcome),
            folder,
            *_list_applied(outcome),
        )
        step.store(asdict(outcome))
    module = partial(_load_exported, prepared, architecture, folder, outcome)
    made = [
        make_variant(
            prepared,
            name,
            pipeline,
            options,
            folder,
            module,
            _lab_of_variants(prepared, weights, known, module),
        )
        for name, (pipeline, options) in variant_pipelines(prepared, architecture).items()
    ]
    for leftover in folder.glob("passes-*"):
        shutil.rmtree(leftover)
    plain = outcome.made or plain_variant(prepared, architecture)
    return outcome, Finished(architecture, folder, (plain, *(one for one in made if one is not None)))


def _list_applied(outcome: _Outcome) -> tuple[tuple[str, ...], Mapping[str, Any] | None]:
    return (() if outcome.made is None else outcome.made.applied), outcome.changes


def _load_exported(
    prepared: Prepared, architecture: Architecture, folder: Path, outcome: _Outcome
) -> nn.Module:
    """Return the module that lies in a winner's folder."""
    module = prepared.supernet.extract(prepared.network_of(architecture))
    if outcome.changes is not None:
        module = with_changes(module, outcome.changes)
    load_weights(folder / WEIGHTS, module)
    return on_cpu(module)


def _lab_of_variants(
    prepared: Prepared, weights: Weights, known: Known, module: Callable[[], nn.Module]
) -> Callable[[Path], Lab]:
    """Return the lab in which variants of a finished winner are made: it is their teacher, or the largest subnet."""

    def lab(folder: Path) -> Lab:
        parent = module().to(prepared.device)
        better = better_teacher(prepared, weights, parent, known)
        return lab_of(prepared, folder, parent if better is None else better)

    return lab


def _train_and_export(
    prepared: Prepared, architecture: Architecture, weights: Weights, known: Known, folder: Path, key: str
) -> _Outcome:
    scratch = folder / f"passes-{key}"
    finished = finish_network(prepared, architecture, weights, known, scratch)
    searched = compress_in_search(prepared, architecture, weights.module(architecture))
    before, after = (
        final_quality(prepared, made.candidate(prepared), known) for made in (searched, finished)
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
        outcome = replace(outcome, made=made, changes=changes_between(cut, module))
    export(prepared, architecture, module, folder, *_list_applied(outcome))
    return outcome


def _winner(
    prepared: Prepared, trial: FrozenTrial, outcome: _Outcome, network: Finished, variants: list[Variant]
) -> Winner:
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
