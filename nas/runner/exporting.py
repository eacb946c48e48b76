"""The files of a network that was found or given, and of its variants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.export.folder import export_model, save_weights, variant_file
from nas.export.names import ARCHITECTURE, ONNX, VOCABULARY, WEIGHTS
from nas.files import file_digest, write_json
from nas.protocols import CompressionPass, Split
from nas.runner.compressing import compress
from nas.runner.preparation import Prepared
from nas.runner.steps import Step, tell_remade
from nas.space import Architecture
from nas.study import network_reference, stable_repr


def on_cpu(module: nn.Module) -> nn.Module:
    """Return a module as it is exported."""
    return module.to(device="cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload, no-any-return]


def file_names(prepared: Prepared) -> tuple[str, ...]:
    """Return the names of what :func:`export` writes."""
    vocabulary = (VOCABULARY,) if prepared.splits.vocabulary else ()
    return (WEIGHTS, ONNX, ARCHITECTURE, *vocabulary)


def export(prepared: Prepared, architecture: Architecture, module: nn.Module, folder: Path) -> None:
    """Write the files of a network in evaluation mode, on the CPU."""
    splits = prepared.splits
    save_weights(folder / WEIGHTS, module)
    export_model(folder, module, splits.inputs)
    if splits.vocabulary:
        write_json(folder / VOCABULARY, splits.vocabulary)
    write_json(
        folder / ARCHITECTURE,
        {
            "format": 2,
            "id": architecture.id,
            "study": prepared.study.name,
            "choices": dict(architecture),
            "network": network_reference(prepared.study.network),
            "inputs": splits.inputs.describe(),
            "task": splits.facts.describe(),
            "mean": splits.mean,
            "std": splits.std,
            "weights_sha256": file_digest(folder / WEIGHTS),
        },
    )


def make_variants(prepared: Prepared, folder: Path) -> None:
    """Let the winners' passes write their variants of an exported network, as far as they aren't made."""
    for compression in prepared.study.winners.passes:
        _make_variant(compression, folder, prepared.splits.train)


def _make_variant(compression: CompressionPass, folder: Path, calibration: Split) -> None:
    target = folder / variant_file(compression.name)
    inputs = [file_digest(folder / ONNX), stable_repr(compression)]
    step = Step(folder / f"finished.{compression.name}.json", inputs, (target.name,))
    done, faults = step.result(dict[str, Any]) is not None, step.faults()
    if done and not faults:
        step.complete_digests()
        return
    tell_remade(folder, faults)
    compress(compression, folder / ONNX, target, calibration)
    step.store({})
