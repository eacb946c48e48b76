"""The files of a network that was found or given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.export.folder import export_model, save_weights
from nas.export.names import ARCHITECTURE, ONNX, VOCABULARY, WEIGHTS
from nas.files import file_digest, write_json
from nas.runner.preparation import Prepared
from nas.space import Architecture
from nas.study import network_reference


def on_cpu(module: nn.Module) -> nn.Module:
    """Return a module as it is exported."""
    return module.to(device="cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload, no-any-return]


def file_names(prepared: Prepared) -> tuple[str, ...]:
    """Return the names of what :func:`export` writes."""
    vocabulary = (VOCABULARY,) if prepared.splits.vocabulary else ()
    return (WEIGHTS, ONNX, ARCHITECTURE, *vocabulary)


def export(
    prepared: Prepared,
    architecture: Architecture,
    module: nn.Module,
    folder: Path,
    applied: tuple[str, ...] = (),
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Write the files of a network in evaluation mode, on the CPU.

    Args:
        prepared: The study.
        architecture: The network's architecture.
        module: Module to export.
        folder: Folder to write to.
        applied: What passes did to the module.
        changes: Changes of its structure by passes; None where they changed none.
    """
    splits, network = prepared.splits, prepared.network_of(architecture)
    save_weights(folder / WEIGHTS, module)
    export_model(folder, module, splits.inputs)
    if splits.vocabulary:
        write_json(folder / VOCABULARY, splits.vocabulary)
    options = {name: option for name, option in architecture.items() if name not in network}
    compressed = {"options": options, "applied": applied, "changes": changes} if options or applied else {}
    # Last, because a folder counts as a winner's by this file, and it holds the digest of the weights.
    write_json(
        folder / ARCHITECTURE,
        {
            "format": 2,
            "id": architecture.id,
            "study": prepared.study.name,
            "choices": dict(network),
            **compressed,
            "network": network_reference(prepared.study.network),
            "inputs": splits.inputs.describe(),
            "task": splits.facts.describe(),
            "mean": splits.mean,
            "std": splits.std,
            "weights_sha256": file_digest(folder / WEIGHTS),
        },
    )
