"""Finds blocks that can be left out of a network, because they only add something to a skip connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import one_line
from nas.supernet.convert.branches import Branch
from nas.supernet.convert.reference import run_branch
from nas.supernet.copying import copy_module

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@final
@dataclass(frozen=True)
class BlockRow:
    """Blocks that run one after the other.

    Args:
        name: Name of the container, or of the first block where the container holds several rows.
        paths: Paths of the blocks, in order.
        alone: Whether each block is called with one tensor and nothing else.
        least: How many of them must stay, so that half of the container's blocks stay, rounded down.
    """

    name: str
    paths: tuple[str, ...]
    alone: tuple[bool, ...]
    least: int


@dataclass
class _Call:
    """The last call of a module. Tensors are kept alive, because they are compared by their ids."""

    times: int = 0
    given: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)
    first: Any = None
    output: Any = None


@torch.no_grad()
def block_rows(
    model: nn.Module, branches: Sequence[Branch], keep: Iterable[str], unused: Mapping[str, tuple[str, ...]]
) -> tuple[list[BlockRow], dict[str, str]]:
    """Return rows of blocks that keep the shape and have a skip connection around all their weights.

    A block is found by what it computes, however its forward is written: with its weights set to zero it
    must return its input, possibly through a ReLU or a layer norm, on every branch.

    Args:
        model: In evaluation mode; isn't changed.
        branches: Branches that its ``forward`` takes, the example's first.
        keep: Paths of modules to leave alone.
        unused: Layers that no branch uses, by the path of the module whose ``forward`` may use them.

    Returns:
        The rows, and the reason why each other block of a container must stay, by its path.
    """
    kept = tuple(keep)
    every = [_calls(model, branch) for branch in branches]
    calls = every[0]
    why: dict[str, str | None] = {}
    for path in calls:
        block = model.get_submodule(path)
        # A block must be without effect on every branch, and keeps the reason of the first on which it isn't.
        found = (_why_needed(block, other[path]) for other in every if path in other)
        why[path] = next((reason for reason in found if reason is not None), None)
        related = [k for k in kept if k == path or k.startswith(f"{path}.") or path.startswith(f"{k}.")]
        if related:
            why[path] = f"{related[0]} is to be kept"
        for owner, (layer, *_) in unused.items():
            if owner == path or owner.startswith(f"{path}."):
                why[path] = why[path] or f"the example doesn't use {layer}"
    fit = [path for path, reason in why.items() if reason is None]
    # Of a block inside a block that can be left out, the inner one is chosen: that leaves more to choose.
    innermost = [path for path in fit if not any(other.startswith(f"{path}.") for other in fit)]
    rows, lone = _rows(model, innermost, calls)
    needed = dict.fromkeys(lone, "it is the only block of its container")
    for path, reason in why.items():
        holds = any(fine.startswith(f"{path}.") for fine in innermost)
        inside = any(path.startswith(f"{outer}.") for outer in [*innermost, *needed])
        if reason is not None and _is_block(model, path) and not holds and not inside:
            needed[path] = reason
    return rows, needed


def _is_block(model: nn.Module, path: str) -> bool:
    """Whether it stands in a row of others."""
    return isinstance(model.get_submodule(_parent(path)), nn.Sequential | nn.ModuleList | nn.ModuleDict)


def _calls(model: nn.Module, branch: Branch) -> dict[str, _Call]:
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
        run_branch(model, branch)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _why_needed(block: nn.Module, call: _Call) -> str | None:
    """Return why a block can't be left out; None if it can."""
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
    """Return a copy whose weights are zero and whose normalisation layers are reset."""
    empty = copy_module(block)
    for parameter in empty.parameters():
        parameter.zero_()
    for module in empty.modules():
        if isinstance(module, _NORMS):
            module.reset_parameters()
    return empty


def _passes_through(given: Tensor, output: Tensor) -> bool:
    # Blocks may end with a ReLU or a norm behind the sum: then they pass on what these make of the input.
    norm = F.layer_norm(given, given.shape[-1:])
    return any(torch.allclose(output, x, rtol=1e-3, atol=1e-4) for x in (given, given.relu(), norm))


def _rows(model: nn.Module, paths: list[str], calls: dict[str, _Call]) -> tuple[list[BlockRow], list[str]]:
    """Return rows of blocks of one container in which each block takes the output of the one before it."""
    found: list[list[str]] = []
    for path in paths:
        last = found[-1][-1] if found else None
        chained = (
            last is not None and _parent(last) == _parent(path) and calls[last].output is calls[path].first
        )
        if chained:
            found[-1].append(path)
        else:
            found.append([path])
    rows, lone = [], []
    for row in found:
        parent = _parent(row[0])
        beside = [other for other in found if _parent(other[0]) == parent]
        stay = _like(model, row, calls) - sum(map(len, beside))
        if len(row) + stay == 1 and len(beside) == 1:
            lone += row
            continue
        name = parent if len(beside) == 1 and parent else row[0]
        alone = tuple(len(calls[path].given) == 1 and not calls[path].named for path in row)
        rows.append(BlockRow(name, tuple(row), alone, _least(len(row), stay, [len(x) for x in beside])))
    return rows, lone


def _like(model: nn.Module, row: list[str], calls: dict[str, _Call]) -> int:
    """Return how many blocks the container of a row has, including those that can't be left out."""
    if not _is_block(model, row[0]):
        return len(row)
    ndim = calls[row[0]].first.ndim

    def is_like(call: _Call) -> bool:
        return all(isinstance(x, Tensor) and x.ndim == ndim for x in (call.first, call.output))

    return sum(_parent(path) == _parent(row[0]) and is_like(call) for path, call in calls.items())


def _least(length: int, stay: int, beside: list[int]) -> int:
    """Return how many blocks of a row must stay, so that half of the container's do, rounded down.

    Args:
        length: Length of the row.
        stay: How many blocks of the container can't be left out.
        beside: The lengths of all rows of the container.
    """
    half = (stay + sum(beside)) // 2
    if len(beside) == 1:
        return max(0, half - stay)
    return length // 2 if stay + sum(other // 2 for other in beside) >= half else -(-length // 2)


def _parent(path: str) -> str:
    return path.rpartition(".")[0]
