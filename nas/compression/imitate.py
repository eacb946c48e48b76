"""Layerwise imitation: a narrow network learns what stands between a wide one's layers."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.checks import check_integers, check_kind
from nas.choices import Option
from nas.compression.pipeline import Lab, Model
from nas.errors import ExportError, StudyError
from nas.inputs import Inputs, InputSpec, call_network
from nas.space import SearchSpace
from nas.training import Losses, Recipe, Step, distillation_step, prepared, train


@final
@dataclass(frozen=True)
class WideThenNarrow:
    """Trains a network to have in front of each layer what its wide teacher has there, then its outputs (Zhou 2020).

    Between two layers stand a linear map to the teacher's width, where the two are compared, and one back. At first
    they undo each other; in the end they are multiplied into the layer behind, so that the network has exactly the
    parameters that it had. Nothing is learned from the targets: put a pass behind that does. Where nothing is better
    than the network, it is left as it is.

    A *variant*: the paper's widths come from widening the network, ours from the lab's teacher, whose layers are
    matched by their names; layers below go on learning while one is added; depthwise convolutions have no maps.

    Args:
        layer_epochs: For each layer, from the first to the last.
        recipe: How to learn the outputs after that, and with its own epochs replaced, the layers; the winners'
            recipe unless given. Layers are learned without weight decay.

    Raises:
        StudyError: a setting is out of range.
    """

    layer_epochs: int = 1
    recipe: Recipe | None = None
    name: str = "imitate"
    works_on: Literal["module"] = "module"
    trains: bool = True

    def __post_init__(self) -> None:
        check_integers(self, "layer_epochs")
        if self.layer_epochs < 1:
            raise StudyError(f"WideThenNarrow has layer_epochs={self.layer_epochs}: 1 or more is expected.")
        if self.recipe is not None:
            check_kind("WideThenNarrow", "recipe", self.recipe, Recipe, "a Recipe, or None,")

    def choices(self) -> SearchSpace:
        """Return none."""
        return SearchSpace(())

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the network after it learned from its teacher, layer by layer and as a whole."""
        if lab.teacher is None:
            return model
        assert model.module is not None
        module = copy.deepcopy(model.module).to(lab.device)
        layers = matched_layers(module, lab.teacher, model.inputs, lab.device)
        if not layers:
            raise ExportError(
                "no layer of the network has its counterpart in the teacher, of the same name and not narrower, so "
                "there is nothing to imitate: leave WideThenNarrow() out."
            )
        insert_maps(module, lab.teacher, layers)
        self._train(module, lab.teacher, layers, lab)
        merge_maps(module, layers)
        told = f"imitate {len(layers)} layers of the teacher and its outputs"
        plain = module.to(device="cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return replace(model, module=plain.eval(), applied=(*model.applied, told))

    def _train(self, module: nn.Module, teacher: nn.Module, layers: Sequence[str], lab: Lab) -> None:
        recipe = self.recipe or lab.recipe
        by_layer = replace(recipe, epochs=self.layer_epochs, weight_decay=0.0)
        phases: list[tuple[Step, Recipe]] = [
            (imitation_step(module, teacher, layers[: number + 1], by_layer), by_layer)
            for number in range(len(layers))
        ]
        phases.append((distillation_step(module, teacher, lab.task, recipe, weight=1.0), recipe))
        for number, (step, how) in enumerate(phases):
            checkpoint = lab.folder / f"{self.name}-{number}.pt"
            train(
                module,
                step,
                lab.train,
                how,
                seed=lab.seed + number,
                device=lab.device,
                checkpoint=checkpoint,
            )


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

    def merged(self) -> nn.Module:
        """Return the layer with both maps multiplied into its weights."""
        with torch.no_grad():
            weight = _weight(self.layer)
            both = _weight(self.down).flatten(1).double() @ _weight(self.up).flatten(1).double()
            weight.copy_(torch.einsum("oi...,ij->oj...", weight.double(), both))
        return self.layer


def matched_layers(
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
        student.set_submodule(name, mapped.merged())


def imitation_step(student: nn.Module, teacher: nn.Module, layers: Sequence[str], recipe: Recipe) -> Step:
    """Return a step that makes what stands in front of layers the same as in the teacher.

    The loss of a layer is the squared difference, relative to the teacher's mean square; that of a batch is their mean.

    Args:
        student: With maps in front of the layers.
        teacher: In evaluation mode; not changed.
        layers: Their names.
        recipe: For what is mixed.
    """
    own = [student.get_submodule(f"{name}.down") for name in layers]
    others = [teacher.get_submodule(name) for name in layers]

    def step(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
        batch = prepared(inputs, targets, recipe, generator)
        with torch.no_grad(), _recorded(others) as wanted:
            call_network(teacher, batch.inputs)
        with _recorded(own) as found:
            call_network(student, batch.inputs)
        losses = [_relative_error(found[id(a)], wanted[id(b)]) for a, b in zip(own, others, strict=True)]
        yield torch.stack(losses).mean()

    return step


def _relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    scale = wanted.square().mean().clamp(min=torch.finfo(torch.float32).tiny)
    return F.mse_loss(found, wanted) / scale


@contextlib.contextmanager
def _recorded(modules: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """Record the last input of modules while the context lasts, by ``id``."""
    seen: dict[int, Tensor] = {}

    def record(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen[id(module)] = arguments[0]

    hooks = [module.register_forward_pre_hook(record) for module in modules]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _layer_inputs(network: nn.Module, inputs: Inputs) -> dict[str, tuple[type, int, tuple[int, ...]]]:
    """Return kind, axis of the width, and input shape of the layers that are called once, in the order of calls."""
    names = {module: name for name, module in network.named_modules()}
    calls: list[tuple[str, tuple[type, int, tuple[int, ...]]]] = []

    def record(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        axis = -1 if isinstance(module, nn.Linear) else 1
        calls.append((names[module], (type(module), axis, tuple(arguments[0].shape))))

    taken = [
        module
        for module in network.modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    ]
    hooks = [module.register_forward_pre_hook(record) for module in taken]
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
