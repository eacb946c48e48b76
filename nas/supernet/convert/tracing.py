"""Running a model once to see how its layers hang together."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nas.errors import ConversionError
from nas.supernet.convert.example import Example


def traced(model: nn.Module, inputs: Example) -> Any:
    """Return Torch-Pruning's dependency graph of ``model`` (Fang 2023).

    Args:
        model: In evaluation mode; isn't changed.
        inputs: Of its ``forward``.

    Raises:
        ConversionError: the output doesn't lead back to the weights.
        Exception: whatever Torch-Pruning trips over.
    """
    graph = torch_pruning.DependencyGraph()
    wants = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        # Tracing follows the gradient, so frozen weights would hide what they belong to.
        model.requires_grad_(True)
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")  # on parameters outside of layers, which we report ourselves
            graph.build_dependency(model, inputs, forward_fn=_differentiable, verbose=False)
    finally:
        for parameter, wanted in wants.items():
            parameter.requires_grad_(wanted)
    return graph


def _differentiable(model: nn.Module, inputs: Example) -> list[Tensor]:
    """Return the tensors of the output that can be followed back."""
    leaves = tree_leaves(inputs.run(model))
    found = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]
    if not found:
        raise ConversionError("its output doesn't lead back to its weights")
    return found


@torch.no_grad()
def output_layers(model: nn.Module, inputs: Example) -> set[str]:
    """Return the paths of the layers that make an output of the network themselves."""
    made: dict[str, Any] = {}

    def remember(path: str) -> Any:
        return lambda _module, _inputs, output: made.__setitem__(path, output)

    leaves = [(path, m) for path, m in model.named_modules() if not any(m.children())]
    handles = [m.register_forward_hook(remember(path)) for path, m in leaves]
    outputs = {id(output) for output in tree_leaves(inputs.run(model))}
    for handle in handles:
        handle.remove()
    return {path for path, output in made.items() if id(output) in outputs}
