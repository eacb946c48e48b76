"""Finds attention in a network, however it is written, in the graph that its gradients pass through.

Attention is a softmax over products of what some layers make, mixed with what another one makes, and given to a
layer. Those layers, and all parameters on the way, are what whole heads are cut from.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves

from nas.supernet.convert.example import Example

_SOFTMAX = ("SoftmaxBackward0", "SafeSoftmaxBackward0")
_MOVES = frozenset(
    f"{name}Backward{number}"
    for name in (
        *(
            "T",
            "Transpose",
            "View",
            "UnsafeView",
            "Unsqueeze",
            "Squeeze",
            "Expand",
            "Permute",
            "ToCopy",
            "Slice",
        ),
        *("Clone", "Select", "Alias", "Reshape", "ReshapeAlias", "Cat"),
    )
    for number in (0, 1)
)
"""What may lie between a parameter and the operation that uses it."""
_MOST_LAYERS = 12
"""More than any attention has; beyond, the way has left it."""
Named = tuple[str, str]
"""Path of a module, and name of its parameter."""


@final
@dataclass(frozen=True)
class Core:
    """The layers around one softmax that is attention.

    Args:
        shape: Shape of the softmax.
        producers: Layers whose outputs are queries, keys, values, or are combined with these.
        consumers: Layers that take the output of the attention.
        between: Other parameters in between: of norms, biases per head, scales.
    """

    shape: tuple[int, ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    between: tuple[Named, ...]


def is_matrix(module: nn.Module) -> bool:
    """Whether a module without others inside multiplies channels by a matrix."""
    weight = module._parameters.get("weight")
    if weight is None or weight.ndim < 2 or isinstance(module, nn.Embedding) or any(module.children()):
        return False
    return not isinstance(module, nn.modules.conv._ConvNd) or module.groups == 1


def attention_cores(model: nn.Module, example: Example) -> list[Core]:
    """Return where attention happens in a model in evaluation mode, which isn't changed."""
    wants = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        # Frozen weights would leave no trace in the graph, and fused kernels no softmax.
        model.requires_grad_(True)
        with warnings.catch_warnings(), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            warnings.simplefilter("ignore")  # on whatever the user's forward does under these settings
            outputs = tree_leaves(example.run(model))
        graph = _Graph(model, [x.grad_fn for x in outputs if isinstance(x, Tensor) and x.grad_fn is not None])
        return list(dict.fromkeys(core for core in graph.cores() if core is not None))
    finally:
        for parameter, wanted in wants.items():
            parameter.requires_grad_(wanted)


class _Graph:
    """The operations that led to an output, each with those that it feeds and the parameters that it uses."""

    def __init__(self, model: nn.Module, ends: list[Any]) -> None:
        self._modules = dict(model.named_modules())
        self._owners: dict[nn.Parameter, Named] = {}
        for path, module in self._modules.items():
            for name, parameter in module.named_parameters(recurse=False):
                self._owners.setdefault(parameter, (path, name))
        self._users: dict[Any, list[Any]] = {}
        self._nodes = self._walk(ends)
        self._used: dict[Any, list[Named]] = {}
        for node in self._nodes:
            if node.name() == "torch::autograd::AccumulateGrad" and node.variable in self._owners:
                for operation in self._operations(node):
                    self._used.setdefault(operation, []).append(self._owners[node.variable])

    def _walk(self, ends: list[Any]) -> list[Any]:
        nodes = dict.fromkeys(ends)
        waiting = list(nodes)
        # A loop and no recursion: a graph is deeper than Python's stack.
        while waiting:
            node = waiting.pop()
            for source, _ in node.next_functions:
                if source is not None:
                    self._users.setdefault(source, []).append(node)
                    if source not in nodes:
                        nodes[source] = None
                        waiting.append(source)
        return list(nodes)

    def _operations(self, node: Any) -> Iterator[Any]:
        """Yield the operations that use a parameter, perhaps after it was transposed or reshaped."""
        for user in self._users.get(node, ()):
            if user.name() in _MOVES:
                yield from self._operations(user)
            else:
                yield user

    def cores(self) -> Iterator[Core | None]:
        """Yield the core around each softmax; None for one that is not attention."""
        for node in self._nodes[::-1]:
            if node.name() in _SOFTMAX:
                yield self._core(node)

    def _core(self, softmax: Any) -> Core | None:
        shape = tuple(softmax._saved_result.shape)
        above, consumers, passed = self._spread([softmax], shape, lambda node: self._users.get(node, ()))
        if not consumers:
            return None
        below = [softmax, *above]
        _, producers, more = self._spread(
            below, shape, lambda node: [source for source, _ in node.next_functions if source is not None]
        )
        producers = [path for path in producers if path not in consumers]
        if not producers or len(producers) + len(consumers) > _MOST_LAYERS:
            return None
        return Core(shape, tuple(producers), tuple(consumers), tuple(dict.fromkeys([*passed, *more])))

    def _spread(
        self, starts: Iterable[Any], shape: tuple[int, ...], neighbours: Any
    ) -> tuple[list[Any], list[str], list[Named]]:
        """Walk the graph up to operations of layers; return the operations passed, the layers, and the parameters."""
        waiting = list(starts)
        seen = dict.fromkeys(waiting)
        layers: dict[str, None] = {}
        between: dict[Named, None] = {}
        while waiting and len(layers) <= _MOST_LAYERS:
            for node in neighbours(waiting.pop()):
                if node in seen or node.name() == "torch::autograd::AccumulateGrad":
                    continue
                used = self._used.get(node, [])
                stops = [path for path, name in used if self._stops(path, name, shape)]
                if stops:
                    layers.update(dict.fromkeys(stops))
                    continue
                seen[node] = None
                between.update(dict.fromkeys(used))
                # Behind a table, such as one of relative positions, there are only ids.
                if not any(isinstance(self._modules[path], nn.Embedding) for path, _ in used):
                    waiting.append(node)
        return [node for node in seen if node.name() not in _SOFTMAX], list(layers), list(between)

    def _stops(self, path: str, name: str, shape: tuple[int, ...]) -> bool:
        """Whether an operation is a layer at which attention begins or ends, not one that mixes heads."""
        module = self._modules[path]
        if name != "weight" or not is_matrix(module):
            return False
        # A matrix of heads by heads, between scores and values, mixes heads; attention goes on behind it.
        return len(shape) < 4 or tuple(module._parameters[name].shape[:2]) != (shape[-3],) * 2
