"""Variants of a finished network: files that passes make of it, each of which is made once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from torch import nn

from nas.compression.onnx_files import onnx_of
from nas.compression.pipeline import PLAIN, Lab, Pipeline, as_pipeline, name_variant
from nas.compression.structure import describe_changes
from nas.export.folder import VariantNote, save_weights
from nas.export.names import ONNX, variant_file, variant_note, variant_weights
from nas.files import file_digest, write_bytes, write_json
from nas.runner.compressing import compress
from nas.runner.preparation import Prepared
from nas.runner.steps import CachedStep, tell_remade
from nas.space import Architecture
from nas.study import stable_repr


@final
@dataclass(frozen=True)
class Made:
    """A variant whose file is there.

    Args:
        name: Name of the variant.
        macs: MACs of its network.
        num_params: Number of parameters of its network.
        applied: What passes did to it.
    """

    name: str
    macs: int
    num_params: int
    applied: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class _Outcome:
    """The result of making a variant, as it is stored; None if the passes changed nothing."""

    made: Made | None


def plain_variant(prepared: Prepared, architecture: Architecture) -> Made:
    """Return the float32 variant of a network that no pass changed."""
    counts = prepared.counts(prepared.problem.space.indices([architecture]))
    return Made(PLAIN, int(counts.macs[0]), int(counts.num_params[0]))


def variant_pipelines(
    prepared: Prepared, architecture: Architecture
) -> dict[str, tuple[Pipeline, Architecture]]:
    """Return the pipelines that make a network's variants and the options of their passes, by the variant's name.

    The study's passes on the file are applied with the options that were searched, and with each other option of one of
    them: a file costs seconds, where the network that it is made of cost a training.
    """
    own = prepared.study.pipeline
    found: dict[str, tuple[Pipeline, Architecture]] = {}
    if own.on_file:
        row, space = Pipeline(*own.on_file), prepared.problem.space
        found[own.file_name] = (row, architecture)
        for choice in row.space.choices:
            for option in choice.options:
                other = space.architecture({**architecture, choice.name: option})
                if other != architecture:
                    found[name_variant(choice.name, option)] = (row, other)
    return found | {made.name: (as_pipeline(made), architecture) for made in prepared.study.winners.passes}


@final
@dataclass(frozen=True)
class Parent:
    """A network whose float32 files are made, from which variants are made.

    Args:
        folder: Folder of its files; those of the variants go there too.
        load: Returns the module that the float32 file was exported from.
        lab: Returns what passes may use, given a folder for their own files.
    """

    folder: Path
    load: Callable[[], nn.Module]
    lab: Callable[[Path], Lab]


def make_variants(
    prepared: Prepared, parent: Parent, pipelines: Mapping[str, tuple[Pipeline, Architecture]]
) -> list[Made]:
    """Make those variants of a network that don't exist yet; where passes change nothing there is no variant.

    Args:
        prepared: The study.
        parent: The network.
        pipelines: What makes each variant, and an architecture with the options of its passes, by its name.
    """
    made = [_make_once(prepared, parent, name, *by) for name, by in pipelines.items()]
    return [one for one in made if one is not None]


def _make_once(
    prepared: Prepared, parent: Parent, name: str, pipeline: Pipeline, architecture: Architecture
) -> Made | None:
    options = {choice.name: architecture[choice.name] for choice in pipeline.space.choices}
    inputs = [file_digest(parent.folder / ONNX), stable_repr(pipeline), options, prepared.study.seed]
    files = [variant_file(name), variant_note(name)]
    if pipeline.on_module:
        files.append(variant_weights(name))
    step = CachedStep(parent.folder / f"finished.{name}.json", inputs, tuple(files))
    stored, faults = step.result(_Outcome), step.faults()
    if stored is not None and stored.made is None:
        return None
    if stored is not None and not faults:
        return stored.made
    tell_remade(parent.folder, faults)
    made = _make(prepared, parent, name, pipeline, architecture)
    if made is None:
        step = CachedStep(step.path, inputs)  # without files, because there are none
    step.store(asdict(_Outcome(made)))
    return made


def _make(
    prepared: Prepared, parent: Parent, name: str, pipeline: Pipeline, architecture: Architecture
) -> Made | None:
    folder, module = parent.folder, parent.load()
    lab = parent.lab(folder / f"passes-{name}")
    found = compress(prepared, pipeline.passes, architecture, module, lab)
    if found.model.onnx is None and found.plain.module is module:
        return None
    write_bytes(folder / variant_file(name), onnx_of(found.model))
    changes = None
    if pipeline.on_module:
        save_weights(folder / variant_weights(name), found.module)
        changes = describe_changes(module, found.module)
    note = VariantNote(PLAIN, found.model.applied, changes)
    write_json(folder / variant_note(name), asdict(note))
    return Made(name, found.macs, found.num_params, found.model.applied)
