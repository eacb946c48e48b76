"""Whether all sizes of a supernet fit each other, its inputs and its task, and which choice is to blame."""

from __future__ import annotations

import contextlib
import reprlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nas.errors import ShapeError, one_line
from nas.inputs import Form, Inputs, InputSpec, as_spec, call_network
from nas.space import Architecture, SearchSpace
from nas.supernet.probes import MOST_NEIGHBOURS, list_neighbours
from nas.supernet.probing import probing
from nas.task import Task

if TYPE_CHECKING:
    from nas.supernet.supernet import Supernet


def check_shapes(supernet: Supernet, form: Form, task: Task, targets: Tensor | None = None) -> dict[str, int]:
    """Run every probe on one item without content.

    Args:
        supernet: The network.
        form: What the network takes.
        task: Says whether outputs are what they should be.
        targets: ``(1, *)`` of one item, as the task has them; of one class, int64 of shape ``(1,)``, unless given.

    Returns:
        The multiply-accumulates of each probe by its id, which running them shows as well.

    Raises:
        ShapeError: shapes don't fit; says in which module, and which choice alone would mend it. Or targets are those
            of more items or none.
    """
    if targets is not None and len(targets) != 1:
        raise ShapeError(
            f"targets have shape {tuple(targets.shape)}: those of one item, (1, *), are expected."
        )
    spec = as_spec(form)
    inputs = spec.blank(1, next(supernet.parameters()).device)
    of_item = torch.zeros(1, dtype=torch.int64) if targets is None else targets

    def fault_of(architecture: Architecture) -> str | None:
        return _find_fault(supernet, architecture, inputs, lambda outputs: task.fault(of_item, outputs))

    probes = supernet.probes()
    fitting = count_macs(supernet, probes, spec, lambda outputs: task.fault(of_item, outputs) is None)
    with _evaluating(supernet):
        for architecture in probes:
            fault = None if architecture.id in fitting else fault_of(architecture)
            if fault is not None:
                where = _blame_choices(supernet.space, architecture, fault_of)
                raise ShapeError(
                    f"the network doesn't fit {_describe_inputs(spec)}, {where}: {fault}. "
                    f"Make the sizes agree for every option{_doubt_targets(task, targets)}."
                )
    return fitting


def _doubt_targets(task: Task, targets: Tensor | None) -> str:
    """Return what else may be wrong, as the end of a sentence, where the task has other targets than were taken."""
    if targets is not None or task.fault(torch.zeros(1, dtype=torch.int64)) is None:
        return ""
    return (
        "; but targets were taken for one class, int64 of shape (1,), which this task doesn't have: pass targets= of "
        "one item"
    )


def count_macs(
    supernet: Supernet,
    architectures: Iterable[Architecture],
    form: Form,
    fits: Callable[[Tensor], bool] = lambda _outputs: True,
) -> dict[str, int]:
    """Return the multiply-accumulates of one item in each architecture by its id, as torch counts them.

    Elastic layers compute little of what they give (:mod:`nas.supernet.probing`). Where that, or counting itself,
    doesn't work with a network, or an output doesn't fit, the architecture is missing.

    Args:
        supernet: The network.
        architectures: Architectures of the space.
        form: What the network takes.
        fits: Whether an output is as it should be.
    """
    macs: dict[str, int] = {}
    inputs = as_spec(form).blank(1, next(supernet.parameters()).device)
    with _evaluating(supernet), supernet.active(supernet.architecture), probing(supernet.module) as counter:
        for architecture in architectures:
            before = counter.flops
            supernet.activate(supernet.space.architecture(architecture))
            try:
                outputs = call_network(supernet, inputs)
            except KeyboardInterrupt:
                raise
            except BaseException:  # whatever a user's forward raises, SystemExit too
                continue
            count = (counter.flops - before) // 2
            if isinstance(outputs, Tensor) and fits(outputs):
                macs[architecture.id] = count
    return macs


@contextlib.contextmanager
def _evaluating(supernet: Supernet) -> Iterator[None]:
    was_training = supernet.training
    supernet.eval()
    try:
        yield
    finally:
        supernet.train(was_training)


def _blame_choices(
    space: SearchSpace, architecture: Architecture, fault_of: Callable[[Architecture], str | None]
) -> str:
    """Return which choices alone would mend an architecture, of a large space among those that it has changed."""
    neighbours = list_neighbours(space, architecture)
    if len(neighbours) > MOST_NEIGHBOURS:
        largest = space.largest()
        neighbours = [(n, c) for n, c in neighbours if n[c.name] == largest[c.name]]
    mending = [
        f"{choice.name!r} is {architecture[choice.name]!r} (with {changed[choice.name]!r} it fits)"
        for changed, choice in neighbours
        if fault_of(changed) is None
    ]
    if mending:
        return f"where choice {' or '.join(mending)}"
    return f"and no single choice is to blame in {reprlib.repr(dict(architecture))}"


def _find_fault(
    supernet: Supernet, architecture: Architecture, inputs: Inputs, fault: Callable[[Tensor], str | None]
) -> str | None:
    """Return what is wrong with a subnet's outputs in words, or None."""
    with supernet.active(architecture), torch.no_grad(), _last_module(supernet.module) as last:
        try:
            output = call_network(supernet, inputs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a user's forward raises, SystemExit too
            return f"module {last[-1]!r} says {one_line(error)!r}"
    if not isinstance(output, Tensor):
        return f"the output is {type(output).__name__} and a tensor is expected"
    return fault(output)


def _describe_inputs(spec: InputSpec) -> str:
    if len(spec.shapes) == 1:
        return f"an input of shape {spec.shapes[0]}"
    return f"inputs of the shapes {', '.join(map(str, spec.shapes))}"


@contextlib.contextmanager
def _last_module(root: nn.Module) -> Iterator[list[str]]:
    """Keep the path of the module whose forward began last."""
    last = [""]

    def remember(path: str) -> object:
        return lambda *_: last.append(path)

    hooked = [
        (p, m) for p, m in root.named_modules() if not isinstance(m, torch.jit.ScriptModule)
    ]  # they refuse
    handles = [m.register_forward_pre_hook(remember(path)) for path, m in hooked]
    try:
        yield last
    finally:
        for handle in handles:
            handle.remove()
