"""Makes attention of any class elastic, by whole heads.

Where the heads lie is guessed from the sizes of the layers around a softmax, and every guess is tried out on the
attention by itself: heads in another order must leave its output as it is, and fewer of them must run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from nas.supernet.convert.branches import Branch
from nas.supernet.convert.cores import Core, attention_cores
from nas.supernet.convert.dependencies import Fixed
from nas.supernet.convert.example import Example
from nas.supernet.convert.guesses import Attention, guesses
from nas.supernet.convert.probe import Probe
from nas.supernet.convert.proposals import SplitHeads

HEADS = "heads"
_MOST_GUESSES = 60
"""More than the most awkward attention known needs; each is a run of a small module."""


def split_heads(
    model: nn.Module, example: Example, keep: Sequence[str], options: Callable[[int], tuple[int, ...]]
) -> tuple[list[SplitHeads], list[Fixed]]:
    """Return proposals for attention whose heads can be cut, and the reasons for attention whose heads can't.

    Args:
        model: In evaluation mode; isn't changed.
        example: Example of what its ``forward`` takes.
        keep: Paths of modules to leave alone.
        options: Returns the numbers of heads to choose from, of how many there are.
    """
    cores = [core for core in attention_cores(model, example) if not _is_torchs(model, core)]
    times = _count_calls(model, example)
    groups = [Attention(model, tuple(group), times) for group in _merge_cores(cores)]
    calls = _calls(model, example, {path for group in groups for path in group.surroundings})
    found: list[SplitHeads] = []
    failed: dict[tuple[Any, ...], list[tuple[Attention, str]]] = {}
    known: dict[Any, int] = {}
    for group in groups:
        kept = [k for k in keep if any(path == k or path.startswith(f"{k}.") for path in group.paths)]
        answer = f"{kept[0]} is to be kept" if kept else _settle_heads(group, model, calls, known, options)
        if isinstance(answer, str):
            failed.setdefault(group.kind if not kept else (group,), []).append((group, answer))
        else:
            found.append(answer)
    fixed = []
    for alike in failed.values():
        # Layers may share what they computed, such as biases, so that all of them need as many heads.
        together = Attention(model, tuple(core for group, _ in alike for core in group.cores), times)
        calls = _calls(model, example, set(together.surroundings)) if len(alike) > 1 else {}
        answer = _settle_heads(together, model, calls, known, options) if len(alike) > 1 else ""
        if isinstance(answer, SplitHeads):
            found.append(answer)
        else:
            fixed += [Fixed(tuple((h, HEADS) for h in group.holders), reason) for group, reason in alike]
    return found, fixed


def _settle_heads(
    group: Attention,
    model: nn.Module,
    calls: dict[str, Example],
    known: dict[Any, int],
    options: Callable[[int], tuple[int, ...]],
) -> SplitHeads | str:
    """Return the first guess that is right, or why none is; attention of the same kind gets the same guess."""
    reason = "it has one head" if group.most == 1 else "its heads can't be told apart"
    # The heads of layers of one form lie in the same places: the second layer takes the guess that held for the first.
    if group.key in known:
        return next(itertools.islice(guesses(group, options), known[group.key], None))
    for around in group.surroundings:
        probe, shapes = None, False
        for number, guess in enumerate(itertools.islice(guesses(group, options), _MOST_GUESSES)):
            if probe is None:
                probe = Probe(model.get_submodule(around), [Branch(calls[around])])
            fault = probe.fault([guess.inside(around)])
            if fault is None:
                known[group.key] = number
                return guess
            shapes = shapes or "shape of the network's output" in fault
            reason = reason if number else f"its heads can't be told apart: {fault}"
        if (
            not shapes
        ):  # what it returns for each head, such as a bias, may go no further than what is around it
            break
    return reason


def _is_torchs(model: nn.Module, core: Core) -> bool:
    parents = {path.rpartition(".")[0] for path in (*core.producers, *core.consumers)}
    return any(isinstance(model.get_submodule(path), nn.MultiheadAttention) for path in parents)


def _merge_cores(cores: Iterable[Core]) -> list[list[Core]]:
    """Group cores that share a parameter: they share their heads, or run one after the other."""
    groups: list[tuple[set[Any], list[Core]]] = []
    for core in cores:
        parts = {*core.producers, *core.consumers, *core.between}
        joined = [group for group in groups if group[0] & parts]
        groups = [group for group in groups if group not in joined]
        groups.append((parts.union(*(g[0] for g in joined)), [*(c for g in joined for c in g[1]), core]))
    return [group for _, group in groups]


@torch.no_grad()
def _count_calls(model: nn.Module, example: Example) -> dict[str, int]:
    times: dict[str, int] = {}

    def count(path: str) -> Any:
        return lambda *_: times.__setitem__(path, times.get(path, 0) + 1)

    handles = [m.register_forward_pre_hook(count(path)) for path, m in model.named_modules()]
    try:
        example.run(model)
    finally:
        for handle in handles:
            handle.remove()
    return times


@torch.no_grad()
def _calls(model: nn.Module, example: Example, paths: set[str]) -> dict[str, Example]:
    """Return the first call of each module."""
    calls: dict[str, Example] = {}

    def remember(path: str) -> Any:
        def hook(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            if path not in calls:
                calls[path] = Example(given, named).map_tensors(torch.clone).fresh()

        return hook

    handles = [
        model.get_submodule(path).register_forward_pre_hook(remember(path), with_kwargs=True)
        for path in paths
    ]
    try:
        example.run(model)
    finally:
        for handle in handles:
            handle.remove()
    return calls
