"""The network that was converted, whole: its files, and its rows beside the winners."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from nas.export.folder import load_weights
from nas.export.names import WEIGHTS
from nas.report.results import AS_GIVEN, FINISHED, Original, Variant
from nas.runner.compressing import lab_of
from nas.runner.directory import RunDirectory
from nas.runner.exporting import export, file_names, on_cpu
from nas.runner.final_front import Finished
from nas.runner.preparation import Prepared
from nas.runner.steps import CachedStep, tell_remade
from nas.runner.variants import Parent, make_variants, plain_variant, variant_pipelines
from nas.runner.weights import Weights
from nas.space import Architecture
from nas.study import network_reference


def is_converted(prepared: Prepared) -> bool:
    """Whether the study's network is one that existed before, which the report compares with."""
    return prepared.supernet.report is not None


def export_original(prepared: Prepared, run: RunDirectory) -> None:
    """Export a converted network whole, with the weights that the study starts from; done once.

    Call it before the supernet is trained, which changes these weights.
    """
    if not is_converted(prepared):
        return
    whole = prepared.problem.space.largest()
    inputs = [network_reference(prepared.study.network), prepared.weights_digest(), prepared.study.seed]
    step = CachedStep(run.original / "finished.json", inputs, file_names(prepared))
    faults = step.faults()
    tell_remade(run.original, faults)
    if step.result(dict[str, Any]) is None or faults:
        module = prepared.supernet.extract(prepared.network_of(whole))
        export(prepared, whole, on_cpu(module), run.original)
        step.store({})


def originals_variants(prepared: Prepared, run: RunDirectory) -> Finished:
    """Return the network as given with its variants, made as far as they aren't; nothing is trained."""
    whole, folder = prepared.problem.space.largest(), run.original

    def module() -> nn.Module:
        plain = prepared.supernet.extract(prepared.network_of(whole))
        load_weights(folder / WEIGHTS, plain)
        return on_cpu(plain)

    untrained = {
        name: (pipeline, options)
        for name, (pipeline, options) in variant_pipelines(prepared, whole).items()
        if not any(one.trains for one in pipeline.passes)
    }
    parent = Parent(folder, module, partial(lab_of, prepared))
    made = make_variants(prepared, parent, untrained)
    return Finished(whole, folder, (plain_variant(prepared, whole), *made))


def list_originals(prepared: Prepared, weights: Weights) -> list[Architecture]:
    """Return the whole network where it can be finished as winners are: out of a trained supernet."""
    return [prepared.problem.space.largest()] if is_converted(prepared) and weights.are_shared else []


def original_rows(
    prepared: Prepared,
    run: RunDirectory,
    networks: Sequence[Finished],
    variants: Sequence[list[Variant]],
) -> tuple[Original, ...]:
    """Return the rows of the original network, as given first; the whole network may be a winner as well."""
    if not is_converted(prepared):
        return ()
    whole = prepared.problem.space.largest()
    rows = [
        Original(
            state=AS_GIVEN if network.folder == run.original else FINISHED,
            folder=network.folder.relative_to(run.path).as_posix(),
            macs=network.made[0].macs,
            num_params=network.made[0].num_params,
            variants=tuple(known),
        )
        for network, known in zip(networks, variants, strict=True)
        if network.architecture == whole
    ]
    return tuple(sorted(rows, key=lambda row: row.state != AS_GIVEN))
