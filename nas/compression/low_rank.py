"""Low rank: layers as products of thinner ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from nas.choices import Option
from nas.compression.pipeline import Lab, Model
from nas.compression.settings import check_options, check_shares, share_choices
from nas.compression.working import check_runs, make_model, make_working_copy, module_in, replace_layers
from nas.space import SearchSpace

_Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@final
@dataclass(frozen=True)
class LowRank:
    """Replaces layers by products of thinner ones, where that saves multiplications.

    Linear layers and convolutions of one pixel become two, by the singular value decomposition (Denton 2014);
    larger convolutions become up to three, by a Tucker decomposition of their channels (Kim 2016, there of ranks by
    variational Bayes). The result is a ``torch.nn.Sequential`` in the layer's place. Batch norm is
    recalibrated. Layers in groups, with shared weights, and inside torch's own attention and Transformers stay.

    Args:
        share: Share of the energy of a layer's weights, the sum of their squares, that the ranks keep at least, on each
            side of a decomposition. Several make it a choice, from small to large, and the last one is 1.
        name: Name of the pass.

    Raises:
        StudyError: a share is out of range.
    """

    share: float | tuple[float, ...] = (0.7, 0.9, 1.0)
    name: str = "low_rank"
    works_on: ClassVar[Literal["module"]] = "module"
    trains: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", check_shares("LowRank", "share", self.share))

    def choices(self) -> SearchSpace:
        """Return ``low_rank.share``, where several are given."""
        return SearchSpace(share_choices(self.name, "share", self.share))

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the network with thinner layers.

        Raises:
            ExportError: there is no module, or the network doesn't run with other layers in the place of some.
            SpaceError: other options than those of the choices.
        """
        before = module_in(model, self.name)
        share = check_options(self.choices(), options).get(f"{self.name}.share", self.share)
        if share == 1.0:
            return model
        assert isinstance(share, float)
        module = make_working_copy(before, lab)
        count = replace_layers(module, _LAYERS, lambda layer: _thinner(layer, share))
        check_runs(self.name, model, module, lab)
        what = f"{self.name} of {count} layers, for {share:g} of the energy"
        return make_model(model, module, lab, what, recalibrates=count > 0)


@torch.no_grad()
def _thinner(layer: nn.Module, share: float) -> nn.Sequential | None:
    """Return layers that compute nearly the same with fewer multiplications, or None where there are none."""
    assert isinstance(layer, nn.Linear | _Convolution)
    if isinstance(layer, nn.Linear):
        first, last = _halves(layer.weight, share)
        if first.numel() + last.numel() >= layer.weight.numel():
            return None
        return nn.Sequential(_linear(first, None), _linear(last, layer.bias))
    if layer.groups > 1:
        return None
    if math.prod(layer.kernel_size) > 1:
        return _by_tucker(layer, share)
    first, last = (_pixel(half, layer) for half in _halves(layer.weight.flatten(1), share))
    if first.numel() + last.numel() >= layer.weight.numel():
        return None
    return nn.Sequential(
        _convolution(layer, first, None, is_core=True), _convolution(layer, last, layer.bias)
    )


def _halves(matrix: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return ``(rank, in)`` and ``(out, rank)`` matrices whose product is nearest to an ``(out, in)`` one."""
    # The eigenvectors of the smaller Gram matrix are found faster, and say the same.
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    basis = _find_leading_vectors(wide, share)
    rest = basis.T @ wide.double()
    return (rest, basis) if wide is matrix else (basis.T, rest.T)


def _by_tucker(layer: _Convolution, share: float) -> nn.Sequential | None:
    weight = layer.weight.double()
    count_out, count_in = weight.shape[:2]
    given = _find_leading_vectors(weight.flatten(1), share)
    taken = _find_leading_vectors(weight.transpose(0, 1).flatten(1), share)
    area, stride = math.prod(layer.kernel_size), math.prod(layer.stride)

    def cost(rank_out: int, rank_in: int) -> int:
        """Return multiplications for one pixel of the output; the input has ``stride`` times as many pixels."""
        before = stride * count_in * rank_in if rank_in < count_in else 0
        after = count_out * rank_out if rank_out < count_out else 0
        return before + area * rank_in * rank_out + after

    rank_out, rank_in = given.shape[1], taken.shape[1]
    ranks = [(rank_out, rank_in), (count_out, rank_in), (rank_out, count_in), (count_out, count_in)]
    # Of equal costs the last one, which has fewest layers: each has a cost that its multiplications don't show.
    best = min(reversed(ranks), key=lambda pair: cost(*pair))
    core, layers = weight, list[nn.Module]()
    if best[1] < count_in:
        core = torch.einsum("oi...,ir->or...", core, taken)
        layers.append(_convolution(layer, _pixel(taken.T, layer), None))
    if best[0] < count_out:
        core = torch.einsum("oi...,or->ri...", core, given)
    layers.append(_convolution(layer, core, layer.bias if best[0] == count_out else None, is_core=True))
    if best[0] < count_out:
        layers.append(_convolution(layer, _pixel(given, layer), layer.bias))
    return nn.Sequential(*layers) if len(layers) > 1 else None


def _find_leading_vectors(matrix: Tensor, share: float) -> Tensor:
    """Return the fewest left singular vectors that hold a share of the energy, ``(rows, rank)`` float64."""
    # The product squares the range of the singular values, of which float32 would lose the small half.
    matrix = matrix.double()
    energies, vectors = torch.linalg.eigh(matrix @ matrix.T)  # from small to large
    held = energies.flip(0).clamp_min(0).cumsum(0)
    rank = int((held < share * held[-1]).sum()) + 1
    leading: Tensor = vectors.flip(1)[:, :rank]
    return leading


def _pixel(matrix: Tensor, layer: _Convolution) -> Tensor:
    """Return a matrix as the weight of a convolution of one pixel."""
    return matrix.reshape(*matrix.shape, *(1 for _ in layer.kernel_size))


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    return _fill_layer(nn.Linear(weight.shape[1], len(weight), bias is not None, device="meta"), weight, bias)


def _convolution(
    layer: _Convolution, weight: Tensor, bias: Tensor | None, *, is_core: bool = False
) -> nn.Module:
    """Return a convolution like ``layer`` with another weight; the core has its stride, padding and dilation."""
    kind: Any = type(layer)
    settings: dict[str, Any] = {"bias": bias is not None, "device": "meta"}
    if is_core:
        settings |= {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "padding_mode")}
    return _fill_layer(kind(weight.shape[1], len(weight), tuple(weight.shape[2:]), **settings), weight, bias)


def _fill_layer(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """Return a layer that was made without weights, so that no random number was drawn, with these."""
    layer.register_parameter("weight", nn.Parameter(weight.contiguous()))
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach().clone()))
    return layer
