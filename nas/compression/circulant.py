"""Block-circulant layers in the place of dense ones (Ding 2017, CirCNN)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, final

import torch
from torch import nn

from nas.checks import check_kind
from nas.choices import Choice, Option
from nas.compression.pipeline import Lab, Model
from nas.compression.settings import check_options
from nas.compression.working import check_runs, make_model, make_working_copy, module_in, replace_layers
from nas.devices import Device, OnnxRuntime
from nas.errors import SpaceError, StudyError
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.turns import ratios, time_in_turns
from nas.space import SearchSpace
from nas.supernet.circulant import check_block_sizes, project, vectors_shape
from nas.supernet.circulant_layers import CirculantConv2d, CirculantLinear

_LEAST_TIMED = 2**18
"""Numbers of a matrix. Smaller ones fit a processor's cache, and dense was faster (``benchmarks/circulant.py``)."""
_SECONDS = 0.02
"""Time for each form of a layer: short, because a network may have a hundred layers; see ``_FASTER``."""
_FASTER = 0.8
"""Share of the dense time: what is nearer may be noise, and a network would come out otherwise the next time."""


@final
@dataclass(frozen=True)
class Circulant:
    """Replaces linear layers and 2-D convolutions by the nearest block-circulant ones, where these hold fewer numbers.

    Each number becomes the mean of those along a diagonal of a block, which is nearest by least squares. A network
    loses much by it until it is trained again. An exported file holds one k-th of a layer's numbers; it takes as long
    to run and as much memory as before, except for large linear layers that are multiplied in the frequency domain.
    Put passes that cut layers, such as Prune, before it: they don't know these. Behind it Cluster and Half make the
    file smaller; Int8 would store whole matrices. Convolutions in groups, layers with shared weights, and those inside
    torch's own attention and Transformers stay.

    Args:
        block_size: k, the size of the blocks; 1 replaces no layer. Several make it a choice, from large to small, and
            the last one is 1.
        device: Where each linear layer of 512 x 512 numbers or more is timed alone, on one item, to multiply it in the
            frequency domain if that takes a fifth less; also a layer that was block-circulant before. None for all
            dense.
        name: Name of the pass.

    Raises:
        StudyError: a setting is something else.
    """

    block_size: int | tuple[int, ...] = 8
    device: Device | None = field(default_factory=OnnxRuntime)
    name: str = "circulant"

    works_on: ClassVar[Literal["module"]] = "module"
    trains: ClassVar[bool] = False

    def __post_init__(self) -> None:
        sizes: Any = self.block_size
        try:
            check_block_sizes("Circulant", sizes if isinstance(sizes, tuple) else (sizes,))
        except SpaceError as error:
            raise StudyError(str(error)) from None
        if isinstance(sizes, tuple) and sizes[-1] != 1:
            raise StudyError(
                f"Circulant has block_size={sizes}: several are a choice, so name 1 last, which changes nothing."
            )
        check_kind(
            "Circulant", "device", self.device, Device | None, "an instance such as OnnxRuntime(), or None,"
        )

    def choices(self) -> SearchSpace:
        """Return ``circulant.block_size``, where several are given."""
        if isinstance(self.block_size, int):
            return SearchSpace(())
        # As text: the largest of several numbers would be taken for the largest network.
        return SearchSpace((Choice(f"{self.name}.block_size", tuple(map(str, self.block_size))),))

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the network with block-circulant layers.

        Raises:
            ExportError: there is no module, or the network doesn't run with other layers in the place of some.
            DeviceUnavailableError: the device can't be reached.
            SpaceError: other options than those of the choice.
        """
        before = module_in(model, self.name)
        chosen = check_options(self.choices(), options)
        if chosen and chosen == self.choices().largest():
            return model
        size = self.block_size if isinstance(self.block_size, int) else int(chosen[f"{self.name}.block_size"])
        module = make_working_copy(before, lab)
        count = replace_layers(module, (nn.Linear, nn.Conv2d), lambda layer: _with_blocks(layer, size))
        shapes = _shapes_of_large(module, model, lab, self.name)
        if self.device is not None:
            for layer, shape in shapes.items():
                layer.fourier = _is_fourier_faster(layer, shape, self.device)
        what = f"{self.name}: {count} layers in blocks of {size}"
        if fourier := sum(layer.fourier for layer in shapes):
            what += f", {fourier} multiplied in the frequency domain"
        return make_model(model, module, lab, what, recalibrates=count > 0)


@torch.no_grad()
def _with_blocks(layer: nn.Module, size: int) -> nn.Module | None:
    """Return the nearest block-circulant layer, or None where there is none with fewer numbers."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    weight = layer.weight
    rows, columns = weight.shape[:2]
    if math.prod(vectors_shape(rows, columns, size)) >= rows * columns:
        return None
    made: CirculantLinear | CirculantConv2d
    if isinstance(layer, nn.Linear):
        made = CirculantLinear(
            layer.in_features, layer.out_features, size, layer.bias is not None, device="meta"
        )
    elif layer.groups > 1 or layer.padding_mode != "zeros":
        return None
    else:
        made = CirculantConv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            size,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.bias is not None,
            device="meta",
        )
    flat = weight.flatten(2) if weight.ndim > 2 else weight
    # In float64, because a vector's number is a mean of a whole diagonal.
    made.weight = nn.Parameter(project(flat.double(), size).to(weight.dtype))
    made.bias = None if layer.bias is None else nn.Parameter(layer.bias.clone())
    return made


def _shapes_of_large(
    module: nn.Module, model: Model, lab: Lab, name: str
) -> dict[CirculantLinear, tuple[int, ...]]:
    """Return the shape of one item in front of each large block-circulant linear layer, seen as the network runs."""
    shapes: dict[CirculantLinear, tuple[int, ...]] = {}

    def see(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        assert isinstance(layer, CirculantLinear)
        shapes[layer] = tuple(arguments[0].shape[1:])

    large = [
        layer
        for layer in module.modules()
        if isinstance(layer, CirculantLinear) and layer.in_features * layer.out_features >= _LEAST_TIMED
    ]
    hooks = [layer.register_forward_pre_hook(see) for layer in large]
    check_runs(name, model, module, lab)
    for hook in hooks:
        hook.remove()
    return shapes


def _is_fourier_faster(layer: CirculantLinear, shape: tuple[int, ...], device: Device) -> bool:
    files = []
    for fourier in (False, True):
        alone = copy.deepcopy(layer)
        alone.fourier = fourier
        files.append(export_onnx(alone, shape))
    blocks = time_in_turns(device, files, 1, _SECONDS, math.inf)
    times, _ = ratios(blocks, math.inf)
    return float(times[0]) < _FASTER
