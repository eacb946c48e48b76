"""Linear maps between a network's layers, to the widths of another and back, that merge into the layers exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from nas.inputs import Inputs, InputSpec, call_network


@final
class _Mapped(nn.Module):
    """A layer behind a map to the teacher's width and one back."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, width: int, wide: int) -> None:
        super().__init__()
        device, dtype = layer.weight.device, layer.weight.dtype
        there, back = torch.eye(wide, width, device=device, dtype=dtype), torch.eye(width, wide)
        if isinstance(layer, nn.Linear):
            self.up: nn.Module = nn.Linear(width, wide, bias=False, device=device, dtype=dtype)
            self.down: nn.Module = nn.Linear(wide, width, bias=False, device=device, dtype=dtype)
        else:
            self.up = nn.Conv2d(width, wide, 1, bias=False, device=device, dtype=dtype)
            self.down = nn.Conv2d(wide, width, 1, bias=False, device=device, dtype=dtype)
        with torch.no_grad():
            _weight(self.up).view(wide, width).copy_(there)
            _weight(self.down).view(width, wide).copy_(back)
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the layer makes of what was mapped there and back."""
        outputs: Tensor = self.layer(self.down(self.up(inputs)))
        return outputs

    def merge(self) -> nn.Module:
        """Return the layer with both maps multiplied into its weights."""
        with torch.no_grad():
            weight = _weight(self.layer)
            both = _weight(self.down).flatten(1).double() @ _weight(self.up).flatten(1).double()
            weight.copy_(torch.einsum("oi...,ij->oj...", weight.double(), both))
        return self.layer


def match_layers(
    student: nn.Module, teacher: nn.Module, inputs: InputSpec, device: torch.device
) -> list[str]:
    """Return the names of layers that have a counterpart that is as wide or wider, in the order of their calls.

    Not the first layer, whose input is the data, and none that is called twice.
    """
    found, wanted = (_layer_inputs(network, inputs.blank(2, device)) for network in (student, teacher))
    return [
        name
        for name, (kind, axis, shape) in list(found.items())[1:]
        if name in wanted and (kind, axis) == wanted[name][:2] and _is_wider(wanted[name][2], shape, axis)
    ]


def insert_maps(student: nn.Module, teacher: nn.Module, layers: Sequence[str]) -> None:
    """Put two maps that undo each other in front of layers of a student, in place."""
    for name in layers:
        layer, wide = student.get_submodule(name), teacher.get_submodule(name)
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        student.set_submodule(name, _Mapped(layer, _width(layer), _width(wide)))


def merge_maps(student: nn.Module, layers: Sequence[str]) -> None:
    """Multiply the maps into the layers behind them, in place."""
    for name in layers:
        mapped = student.get_submodule(name)
        assert isinstance(mapped, _Mapped)
        student.set_submodule(name, mapped.merge())


def _layer_inputs(network: nn.Module, inputs: Inputs) -> dict[str, tuple[type, int, tuple[int, ...]]]:
    """Return kind, axis of the width, and input shape of the layers that are called once, in the order of calls."""
    names = {module: name for name, module in network.named_modules()}
    calls: list[tuple[str, tuple[type, int, tuple[int, ...]]]] = []

    def keep_input(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        axis = -1 if isinstance(module, nn.Linear) else 1
        calls.append((names[module], (type(module), axis, tuple(arguments[0].shape))))

    taken = [
        module
        for module in network.modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    ]
    hooks = [module.register_forward_pre_hook(keep_input) for module in taken]
    try:
        with torch.no_grad():
            call_network(network.eval(), inputs)
    finally:
        for hook in hooks:
            hook.remove()
    often = [name for name, _ in calls]
    return {name: told for name, told in calls if often.count(name) == 1}


def _is_wider(wide: tuple[int, ...], narrow: tuple[int, ...], axis: int) -> bool:
    """Whether a shape is the other one but for an axis along which it is as long or longer."""
    if len(wide) != len(narrow):
        return False
    same = list(wide)
    same[axis] = narrow[axis]
    return tuple(same) == narrow and wide[axis] >= narrow[axis]


def _width(layer: nn.Module) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else _weight(layer).shape[1]


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight
