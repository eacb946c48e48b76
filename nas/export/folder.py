"""A winner's folder: what is in it, and the way back to a module."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from nas.errors import DamagedFileError, ExportError
from nas.evaluation.onnx_export import export_onnx
from nas.files import read_json, write_bytes
from nas.supernet import Supernet

WEIGHTS, ONNX, ARCHITECTURE, CARD, PICTURE = (
    "model.safetensors",
    "model.onnx",
    "architecture.json",
    "README.md",
    "front.png",
)
VOCABULARY = "vocabulary.json"
"""For text: the word of each token id."""
TRUSTED_SPACES = "NAS_SEARCH_SPACES"
"""Environment variable: packages, by comma, whose networks ``load`` may import. Default search_spaces."""


def variant_file(variant: str) -> str:
    """Return the file name of a variant: ``model.onnx`` for fp32, ``model.int8.onnx`` for int8."""
    return ONNX if variant == "fp32" else f"model.{variant}.onnx"


def save_weights(path: Path, module: nn.Module) -> None:
    """Write all parameters and buffers as safetensors."""
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    write_bytes(path, safetensors.torch.save(state))


def load_weights(path: Path, module: nn.Module) -> None:
    """Read what :func:`save_weights` wrote into a module of the same structure.

    Raises:
        DamagedFileError: the file is damaged or of another structure.
    """
    try:
        state = safetensors.torch.load(path.read_bytes())
        module.load_state_dict(state)
    except Exception as error:  # safetensors, torch and the file system each have their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedFileError(
            f"the weights in {path} can't be read ({reason}): restore the file, or delete it and run the "
            "study again to make it anew."
        ) from error


def export_model(
    folder: Path, module: nn.Module, image_shape: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> None:
    """Write ``model.onnx``."""
    write_bytes(folder / ONNX, export_onnx(module, image_shape, dtype))


def load(folder: str | Path, network: Callable[[], nn.Module] | None = None) -> nn.Module:
    """Return an exported winner as a plain module with its weights, in evaluation mode, on the CPU.

    Args:
        folder: With ``architecture.json`` and ``model.safetensors``.
        network: Makes the network with choices that the winner was found in. Not needed where that is
            a function of a package named in ``NAS_SEARCH_SPACES`` (default ``search_spaces``): nothing
            else is imported on the word of a file.

    Raises:
        ExportError: the folder is no winner's, or its network can't be rebuilt.
        DamagedFileError: a file is damaged.
    """
    folder = Path(folder)
    if not (folder / ARCHITECTURE).is_file():
        raise ExportError(f"{folder} holds no {ARCHITECTURE}: name the folder of a winner.")
    description = read_json(folder / ARCHITECTURE)
    supernet = Supernet((network or _network_of(description))())
    module = supernet.extract(supernet.space.architecture(description["choices"]))
    load_weights(folder / WEIGHTS, module)
    return module.eval()


def _network_of(description: dict[str, dict[str, object]]) -> Callable[[], nn.Module]:
    reference = description["network"]
    package, _, name = str(reference["factory"]).partition(":")
    trusted = [name.strip() for name in os.environ.get(TRUSTED_SPACES, "search_spaces").split(",")]
    if package.partition(".")[0] not in trusted or not name.isidentifier():
        raise ExportError(
            f"the winner's network is {package}:{name}, which is not in {trusted}: pass the function that makes "
            f"it as nas.load(folder, network=...), or name its package in {TRUSTED_SPACES}."
        )
    try:
        factory = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError) as error:
        raise ExportError(f"the winner's network {package}:{name} can't be imported: {error}.") from error
    arguments = reference["arguments"]
    assert isinstance(arguments, dict)
    return lambda: factory(**arguments)
