"""A winner's folder: what is in it, and the way back to a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from nas.choices import Option
from nas.compression.few_values import FewValues, find_few_values
from nas.compression.pipeline import PLAIN
from nas.compression.structure import apply_changes
from nas.errors import DamagedFileError, ExportError, first_line
from nas.evaluation.candidate import OnnxCandidate
from nas.evaluation.onnx_export import export_onnx
from nas.export.names import ARCHITECTURE, ONNX, WEIGHTS, variant_file, variant_note, variant_weights
from nas.export.rebuilding import NetworkOrigin, find_maker
from nas.files import file_digest, make_damage_error, read_json, write_bytes
from nas.inputs import Form
from nas.space import Architecture
from nas.stored import of_json
from nas.supernet import Supernet
from nas.supernet.scaling import ScaledNetwork
from nas.typed import MismatchError, read_as

_PACKED = (".few_values", ".positions", ".shape")
"""What the names of tensors end with that stand for a weight of few values."""
_NAMES_BYTES = 300
"""About what the names and places of three tensors take in a file more than those of one, and the shape."""


@final
@dataclass(frozen=True)
class VariantNote:
    """What a variant's JSON file says.

    Args:
        parent: The variant that it was made from.
        applied: What was done to that, in order.
        changes: Changes of the module's structure, see :mod:`nas.compression.structure`; None where there is a file
            alone.
    """

    parent: str
    applied: tuple[str, ...]
    changes: Mapping[str, Any] | None = None


def save_weights(path: Path, module: nn.Module) -> None:
    """Write all parameters and buffers as safetensors, weights of a few different values in a few bits each."""
    state: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in module.state_dict().items():
        storage = tensor.untyped_storage().data_ptr()
        state[name] = (
            tensor.clone() if storage in seen else tensor.contiguous()
        )  # safetensors has no tied weights
        seen.add(storage)
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if parameter.dtype == torch.float32 and parameter.ndim > 1:
            state |= _pack_weight(name, state.pop(name))
    write_bytes(path, safetensors.torch.save(state))


def _pack_weight(name: str, weight: Tensor) -> dict[str, Tensor]:
    """Return what is stored of a weight: itself, or its values and where each stands, where that takes fewer bytes."""
    few = find_few_values(weight.detach().cpu().numpy())
    if few is None or few.positions.nbytes + few.values.nbytes + _NAMES_BYTES > weight.nbytes:
        return {name: weight}
    stored = (few.values, few.positions, np.array(few.shape))
    return {f"{name}{end}": torch.from_numpy(part) for end, part in zip(_PACKED, stored, strict=True)}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors that :func:`save_weights` wrote, or any other safetensors file holds."""
    state = safetensors.torch.load(path.read_bytes())
    first = _PACKED[0]
    for name in [key.removesuffix(first) for key in state if key.endswith(first)]:
        if all(f"{name}{end}" in state for end in _PACKED):
            values, positions, shape = (state.pop(f"{name}{end}").numpy() for end in _PACKED)
            state[name] = torch.from_numpy(FewValues(values, positions, tuple(shape.tolist())).restore())
    return state


def load_weights(path: Path, module: nn.Module) -> None:
    """Read what :func:`save_weights` wrote into a module of the same structure.

    Raises:
        DamagedFileError: the file is damaged or of another structure.
    """
    try:
        module.load_state_dict(read_weights(path))
    except Exception as error:  # safetensors, torch and the file system each have their own
        raise DamagedFileError(
            f"the weights in {path} can't be read ({first_line(error)}): restore the file, or delete it and run the "
            "study again to make it anew."
        ) from error


def export_model(folder: Path, module: nn.Module, form: Form) -> None:
    """Write ``model.onnx``."""
    write_bytes(folder / ONNX, export_onnx(module, form))


def load(
    folder: str | Path, network: Callable[..., nn.Module] | None = None, *, variant: str = PLAIN
) -> nn.Module:
    """Return an exported winner as a plain module with its weights, in evaluation mode, on the CPU.

    Args:
        folder: Folder with ``architecture.json`` and ``model.safetensors``.
        network: Makes the network with choices that the winner was found in. Called with the arguments that the
            study's had, but for those that a ``functools.partial`` states itself; without any where it takes none.
            Not needed where that is a function of a package named in ``NAS_SEARCH_SPACES`` (default
            ``search_spaces``): nothing else is imported on the word of a file.
        variant: Which one. Where passes left a file and no module, such as one of int8, the module that is returned
            runs the file in ONNX Runtime, on the CPU and without gradients.

    Raises:
        ExportError: the folder is no winner's, or has no such variant, or its network can't be rebuilt, or isn't the
            one that was passed.
        DamagedFileError: a file is damaged.
        RunDirectoryError: a file can't be read.
        SpaceError: the network has other choices than the winner's.
    """
    folder = Path(folder)
    if not (folder / ARCHITECTURE).is_file():
        raise ExportError(f"{folder} holds no {ARCHITECTURE}: name the folder of a winner.")
    if variant == PLAIN:
        return _plain(folder, network)
    note = _read_note(folder, variant)
    if note.changes is None:
        return OnnxModule(folder / variant_file(variant))
    module = apply_changes(_plain(folder, network), note.changes)
    load_weights(folder / variant_weights(variant), module)
    return module.eval()


@final
class OnnxModule(nn.Module):
    """An ONNX file as a module: ONNX Runtime runs it, on the CPU and without gradients.

    Args:
        path: Path of the file.

    Raises:
        ExportError: it can't be read or run.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._candidate = OnnxCandidate(path)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        return self._candidate.predict(inputs if len(inputs) > 1 else inputs[0])


def _read_note(folder: Path, variant: str) -> VariantNote:
    path = folder / variant_note(variant)
    if not path.is_file():
        there = [PLAIN, *(found.name.split(".", 1)[1][:-5] for found in sorted(folder.glob("model.*.json")))]
        raise ExportError(f"{folder} has no variant {variant!r}: choose among {there}.")
    try:
        return read_as(VariantNote, read_json(path))
    except MismatchError as error:
        raise make_damage_error(path, f"it doesn't describe a variant: {error}") from error


def _plain(folder: Path, network: Callable[..., nn.Module] | None) -> nn.Module:
    """Return the module that the float32 file was exported from."""
    description = _read_description(folder / ARCHITECTURE)
    _check_weights(folder, description)
    module = _rebuild(folder, description, network)
    try:
        load_weights(folder / WEIGHTS, module)
    except DamagedFileError as error:
        if description.weights_sha256 is None:
            raise
        raise ExportError(
            f"the network is not the one that the winner in {folder} was found with "
            f"({_difference(folder / WEIGHTS, module)}; the weights are whole): pass {description.network.factory} as "
            "network=..."
        ) from error
    return module.eval()


def _check_weights(folder: Path, description: _Description) -> None:
    weights, known = folder / WEIGHTS, description.weights_sha256
    if known is not None and file_digest(weights) != known:
        raise DamagedFileError(
            f"{weights} doesn't match its digest in {ARCHITECTURE}: restore the file, or run the study again to make "
            "it anew; if you changed it on purpose, take weights_sha256 out there."
        )


def _rebuild(folder: Path, description: _Description, network: Callable[..., nn.Module] | None) -> nn.Module:
    """Return a module of the winner's structure, whose weights mean nothing yet."""
    make, growth = find_maker(description.network, network), description.network.scaled
    supernet = Supernet(make() if growth is None else ScaledNetwork(make, growth)())
    architecture = supernet.space.architecture(description.choices)
    whole = Architecture({**architecture, **description.options})
    if description.id not in (None, whole.id):
        raise DamagedFileError(
            f"{folder / ARCHITECTURE} is damaged (its choices are those of {whole.id} and its id is "
            f"{description.id}): restore the file, or run the study again to make it anew."
        )
    module = supernet.extract(architecture)
    return module if description.changes is None else apply_changes(module, description.changes)


@final
@dataclass(frozen=True)
class _Description:
    """What :func:`load` needs of ``architecture.json``."""

    choices: Mapping[str, Option]
    network: NetworkOrigin
    id: str | None = None
    weights_sha256: str | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    changes: Mapping[str, Any] | None = None


def _read_description(path: Path) -> _Description:
    try:
        description = read_as(_Description, read_json(path))
        network = description.network
        arguments = {key: of_json(stored) for key, stored in network.arguments.items()}
        return replace(description, network=replace(network, arguments=arguments))
    except MismatchError as error:
        raise DamagedFileError(
            f"{path} doesn't describe a winner (choices and network, with factory and arguments, are expected; "
            f"{error}): restore the file, or run the study again to make it anew."
        ) from error


def _difference(path: Path, module: nn.Module) -> str:
    """Return the first difference between the names and shapes of stored weights and a module's."""
    stored, own = read_weights(path), module.state_dict()
    for name in [*own, *stored]:
        if name not in stored:
            return f"it has {name!r} and the weights don't"
        if name not in own:
            return f"the weights have {name!r} and it doesn't"
        if stored[name].shape != own[name].shape:
            return f"its {name!r} is {tuple(own[name].shape)} and that of the weights {tuple(stored[name].shape)}"
    raise AssertionError("weights of the same names and shapes can be loaded")
