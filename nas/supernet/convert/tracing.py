"""Running a model once to see how its layers hang together."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nas.errors import ConversionError


def traced(model: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """Return Torch-Pruning's dependency graph of ``model`` (Fang 2023).

    Args:
        model: In evaluation mode; isn't changed.
        inputs: Of its ``forward``.

    Raises:
        ConversionError: the model can't be traced.
    """
    graph = torch_pruning.DependencyGraph()
    made: list[Any] = []

    def run(module: nn.Module, given: tuple[Any, ...]) -> Any:
        made.append(module(*given))
        return made[-1]

    wants = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        # Tracing follows the gradient, so frozen weights would hide what they belong to.
        model.requires_grad_(True)
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")  # on parameters outside of layers, which we report ourselves
            graph.build_dependency(model, inputs, forward_fn=run, verbose=False)
    except Exception as error:  # whatever Torch-Pruning trips over
        said = " ".join(str(error).split()) or type(error).__name__
        raise _untraced(model, said) from error
    finally:
        for parameter, wanted in wants.items():
            parameter.requires_grad_(wanted)
    if not any(isinstance(output, Tensor) and output.requires_grad for output in tree_leaves(made)):
        raise _untraced(model, "its output doesn't lead back to its weights")
    return graph


def _untraced(model: nn.Module, said: str) -> ConversionError:
    return ConversionError(
        f"{type(model).__name__} can't be traced ({said}): Torch-Pruning must be able to follow its operations, and "
        "torch to differentiate its output (a tensor, or a list or dictionary of tensors) by its weights; otherwise "
        "write the network with nas.supernet.elastic."
    )


@torch.no_grad()
def output_layers(model: nn.Module, inputs: tuple[Any, ...]) -> set[str]:
    """Return the paths of the layers that make an output of the network themselves."""
    made: dict[str, Any] = {}

    def remember(path: str) -> Any:
        return lambda _module, _inputs, output: made.__setitem__(path, output)

    leaves = [(path, m) for path, m in model.named_modules() if not any(m.children())]
    handles = [m.register_forward_hook(remember(path)) for path, m in leaves]
    outputs = {id(output) for output in tree_leaves(model(*inputs))}
    for handle in handles:
        handle.remove()
    return {path for path, output in made.items() if id(output) in outputs}
