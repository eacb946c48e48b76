"""Blocks that a network can do without: those whose skip connection is all that is left without weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import one_line
from nas.supernet.convert.example import Example

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@final
@dataclass(frozen=True)
class BlockRow:
    """Blocks that run one after the other.

    Args:
        name: Of the container, or of the first block where the container holds several rows.
        paths: Of the blocks, in order.
        alone: Whether each block is called with one tensor and nothing else.
    """

    name: str
    paths: tuple[str, ...]
    alone: tuple[bool, ...]


@dataclass
class _Call:
    """What a module was called with last; tensors are kept so that their ids stay theirs."""

    times: int = 0
    given: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)
    first: Any = None
    output: Any = None


@torch.no_grad()
def block_rows(
    model: nn.Module, inputs: Example, keep: Iterable[str]
) -> tuple[list[BlockRow], dict[str, str]]:
    """Return rows of blocks that keep the shape and have a skip connection around all their weights.

    A block is found by what it computes, however its forward is written: with its weights set to zero it
    must return its input, possibly through a ReLU or a layer norm.

    Args:
        model: In evaluation mode; isn't changed.
        inputs: Of its ``forward``.
        keep: Paths of modules to leave alone.

    Returns:
        The rows, and why each other block of a container has to stay, by path.
    """
    kept = tuple(keep)
    calls = _calls(model, inputs)
    why = {path: _why_needed(model.get_submodule(path), call) for path, call in calls.items()}
    for path in why:
        related = [k for k in kept if k == path or k.startswith(f"{path}.") or path.startswith(f"{k}.")]
        if related:
            why[path] = f"{related[0]} is to be kept"
    fit = [path for path, reason in why.items() if reason is None]
    innermost = [path for path in fit if not any(other.startswith(f"{path}.") for other in fit)]
    needed: dict[str, str] = {}
    for path, reason in why.items():
        holds = any(fine.startswith(f"{path}.") for fine in innermost)
        inside = any(path.startswith(f"{outer}.") for outer in [*innermost, *needed])
        if reason is not None and _is_block(model, path) and not holds and not inside:
            needed[path] = reason
    return list(_rows(innermost, calls)), needed


def _is_block(model: nn.Module, path: str) -> bool:
    """Whether it stands in a row of others."""
    parent = model.get_submodule(path.rpartition(".")[0])
    return isinstance(parent, nn.Sequential | nn.ModuleList)


def _calls(model: nn.Module, inputs: Example) -> dict[str, _Call]:
    """Run the model and return the calls of modules that hold others with weights, in order."""
    calls: dict[str, _Call] = {}

    def before(path: str) -> Any:
        def hook(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            call = calls.setdefault(path, _Call())
            call.times += 1
            call.first = given[0] if given else None
            call.given, call.named = given, named

        return hook

    def after(path: str) -> Any:
        def hook(_module: nn.Module, _given: Any, _named: Any, output: Any) -> None:
            calls[path].output = output

        return hook

    handles = []
    for path, module in model.named_modules():
        if path and any(module.children()) and any(p.ndim > 1 for p in module.parameters()):
            handles.append(module.register_forward_pre_hook(before(path), with_kwargs=True))
            handles.append(module.register_forward_hook(after(path), with_kwargs=True))
    try:
        inputs.run(model)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _why_needed(block: nn.Module, call: _Call) -> str | None:
    """Return why the network needs a block, or None."""
    if call.times > 1:
        return f"it is called {call.times} times"
    if not isinstance(call.first, Tensor) or not isinstance(call.output, Tensor):
        return "it doesn't map one tensor to one tensor"
    if call.first.is_nested or call.output.is_nested:
        return "its tensors are nested"
    if call.first.shape != call.output.shape:
        return f"it changes the shape, {_size(call.first)} to {_size(call.output)}"
    if not call.first.is_floating_point():
        return "its input is not made of real numbers"
    noise = torch.randn(call.first.shape, generator=torch.Generator().manual_seed(0))
    noise = noise.to(call.first)  # the real input may be zero, which would look like a skip
    try:
        output = _without_weights(block)(noise.clone(), *call.given[1:], **call.named)
    except Exception as error:  # whatever a user's forward raises
        return f"it can't be run by itself ({one_line(error)})"
    if not _passes_through(noise, output):
        return "it has no skip connection around its weights"
    return None


def _size(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape[1:]))


def _without_weights(block: nn.Module) -> nn.Module:
    """Return a copy whose weights are zero and whose norms are as new."""
    copied = copy.deepcopy(block)
    for parameter in copied.parameters():
        parameter.zero_()
    for module in copied.modules():
        if isinstance(module, _NORMS):
            module.reset_parameters()
    return copied


def _passes_through(given: Tensor, output: Tensor) -> bool:
    norm = F.layer_norm(given, given.shape[-1:])
    return any(torch.allclose(output, x, rtol=1e-3, atol=1e-4) for x in (given, given.relu(), norm))


def _rows(paths: list[str], calls: dict[str, _Call]) -> Iterator[BlockRow]:
    """Join blocks of one container of which each takes what the one before it made."""
    found: list[list[str]] = []
    for path in paths:
        last = found[-1][-1] if found else None
        chained = (
            last is not None
            and last.rpartition(".")[0] == path.rpartition(".")[0]
            and calls[last].output is calls[path].first
        )
        if chained:
            found[-1].append(path)
        else:
            found.append([path])
    parents = [row[0].rpartition(".")[0] for row in found]
    for row, parent in zip(found, parents, strict=True):
        name = parent if parents.count(parent) == 1 and parent else row[0]
        alone = tuple(len(calls[path].given) == 1 and not calls[path].named for path in row)
        yield BlockRow(name, tuple(row), alone)
