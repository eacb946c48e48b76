"""The network that was converted, whole: its files, and its rows beside the winners."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.evaluation.from_scratch import FromScratch
from nas.report.results import AS_GIVEN, FINISHED, Original, Variant
from nas.runner.directory import RunDirectory
from nas.runner.exporting import export, file_names, make_variants, on_cpu
from nas.runner.preparation import Prepared
from nas.runner.steps import Step, tell_remade
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
    step = Step(run.original / "finished.json", inputs, file_names(prepared))
    faults = step.faults()
    tell_remade(run.original, faults)
    if step.result(dict[str, Any]) is None or faults:
        export(prepared, whole, on_cpu(prepared.supernet.extract(whole)), run.original)
        step.store({})
    make_variants(prepared, run.original)


def finished_originals(prepared: Prepared) -> list[Architecture]:
    """Return the whole network where it can be finished as winners are: out of a trained supernet."""
    from_scratch = isinstance(prepared.study.training, FromScratch)
    return [prepared.problem.space.largest()] if is_converted(prepared) and not from_scratch else []


def original_rows(
    prepared: Prepared,
    run: RunDirectory,
    networks: Sequence[tuple[Architecture, Path]],
    variants: Sequence[list[Variant]],
) -> tuple[Original, ...]:
    """Return the rows of the original network, as given first; the whole network may be a winner as well."""
    if not is_converted(prepared):
        return ()
    whole = prepared.problem.space.largest()
    counts = prepared.counter.counts(prepared.problem.space.indices([whole]))
    rows = [
        Original(
            state=AS_GIVEN if folder == run.original else FINISHED,
            folder=folder.relative_to(run.path).as_posix(),
            macs=int(counts.macs[0]),
            num_params=int(counts.num_params[0]),
            variants=tuple(known),
        )
        for (architecture, folder), known in zip(networks, variants, strict=True)
        if architecture == whole
    ]
    return tuple(sorted(rows, key=lambda row: row.state != AS_GIVEN))
