"""The ``config`` of an extracted network of Hugging Face's transformers.

``from_pretrained`` builds a network from its config alone, so the config must say the sizes that are left. Which
numbers those are is guessed (:mod:`nas.supernet.config_search`), and then the network must compute the same. Where no
config does that, saving is refused, because what it wrote could not be read.
"""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from typing import Any, NoReturn, final

import torch
from torch import Tensor, nn

from nas.errors import ExportError
from nas.supernet.config_search import build_described
from nas.supernet.convert.example import Example, tensors
from nas.supernet.convert.reference import difference

_SAME = 1e-4
"""Relative; the same operations on the same numbers, in another memory layout at most."""


def describe(module: nn.Module, example: Example) -> None:
    """Make the configs in an extracted network say its sizes, or make them refuse ``save_pretrained``.

    Networks of other libraries, and those without storage, are left as they are.

    Args:
        module: Plain; may be, or hold, networks of transformers.
        example: Example of what its ``forward`` takes.
    """
    transformers = sys.modules.get("transformers")  # a network of it can't be there without it
    if transformers is None or any(parameter.is_meta for parameter in module.parameters()):
        return
    found = [part for part in module.modules() if isinstance(part, transformers.PreTrainedModel)]
    inner = {id(part) for outer in found for part in outer.modules() if part is not outer}
    outermost = [part for part in found if id(part) not in inner]
    for part, call in zip(outermost, _calls(module, outermost, example), strict=True):
        with torch.random.fork_rng(devices=[]):  # constructors draw weights
            reason = _config_set(part, call, transformers.PreTrainedConfig)
        if reason is not None:
            part.__dict__["save_pretrained"] = _Refusal(type(part).__name__, reason)


def _config_set(module: Any, example: Example | None, kind: type) -> str | None:
    """Give a network the config that agrees with it, or return why there is none."""
    built = build_described(module)
    if isinstance(built, str):
        return built
    before = {part: part.config for part in module.modules() if isinstance(vars(part).get("config"), kind)}
    outputs = None if example is None else _outputs(module, example)
    for path, part in list(module.named_modules()):
        if part in before:
            part.config = built.get_submodule(path).config
    if example is None or outputs is None:
        return None
    twin = _fill_module(module)
    if all(difference(_outputs(one, example), outputs) < _SAME for one in (module, twin)):
        return None
    for part, config in before.items():
        part.config = config
    return "with the config that gives the sizes that are left, its class computes something else"


def _fill_module(module: Any) -> nn.Module:
    """Return what is read from what ``module`` saves."""
    first = next(module.parameters())
    twin: nn.Module = type(module)(copy.deepcopy(module.config))
    twin.to(first.device, first.dtype).load_state_dict(module.state_dict())
    return twin.train(module.training)


@torch.no_grad()
def _outputs(module: nn.Module, example: Example) -> list[Tensor]:
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        return tensors(example.run(module))
    finally:
        for part in training:
            part.training = True


def _calls(module: nn.Module, parts: list[nn.Module], example: Example) -> list[Example | None]:
    """Return the first call of each part; None where the example doesn't use it."""
    calls: dict[nn.Module, Example] = {}

    def remember(part: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        calls.setdefault(part, Example(given, named).map_tensors(torch.clone).fresh())

    first = next(module.parameters(), None)
    placed = example if first is None else example.map_tensors(lambda x: _place_tensor(x, first))
    handles = [part.register_forward_pre_hook(remember, with_kwargs=True) for part in parts]
    try:
        if parts:
            _outputs(module, placed)
    finally:
        for handle in handles:
            handle.remove()
    return [calls.get(part) for part in parts]


def _place_tensor(tensor: Tensor, like: Tensor) -> Tensor:
    return tensor.to(like.device, like.dtype if tensor.is_floating_point() else None)


@final
@dataclass(frozen=True)
class _Refusal:
    """Stands in the place of ``save_pretrained`` in a network that no config describes."""

    kind: str
    reason: str

    def __call__(self, *_inputs: Any, **_named: Any) -> NoReturn:
        raise ExportError(
            f"this {self.kind} can't be saved with save_pretrained, because {self.reason}; save its state_dict, let a "
            "study export it, or extract an architecture that a config describes."
        )
