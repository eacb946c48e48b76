"""Binary and ternary weights for recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nas.checks import check_integers
from nas.choices import Option
from nas.compression.normed_recurrent import NormedCell, NormedRecurrent, make_normed_layer
from nas.compression.pipeline import Lab, Model
from nas.compression.settings import check_options
from nas.compression.training import TrainingPass, check_distillation, check_recipe, describe_epochs, train_in
from nas.compression.working import make_model, make_working_copy, module_in
from nas.errors import ExportError, StudyError
from nas.training import Distillation, Hinton, Recipe

_SPREAD = 2 / math.sqrt(3)
"""Standard deviation of the real weights at first, as a multiple of the low-bit ones: that of Glorot's weights."""


@final
@dataclass(frozen=True)
class LowBitRecurrent(TrainingPass):
    """Trains LSTM and GRU layers whose weights are -W, 0 or W, or just -W or W, with batch norm inside (Ardakani 2019).

    Each forward pass draws them anew, with the real weights as means, and gradients go straight through to these.
    Afterwards each is the nearest of its values, and the statistics of batch norm are taken anew. What comes out is a
    network of float32; :class:`PackedFile` behind it stores these weights in 1 or 2 bits. All other numbers
    are trained in float32.

    Args:
        bits: 1 for binary weights, 2 for ternary ones.
        steps: How many steps of a sequence have statistics of their own; the last one's are those of all later steps.
            Each takes as many bytes as 18 float weights for each unit of an LSTM. On 0 there is no batch norm, which is
            the control: it learns far worse.
        recipe: How to train; None for the winners' recipe.
        distillation: How to learn from the teacher, where there is one.
        name: For file names and tables.

    Raises:
        StudyError: a setting is something else.
    """

    bits: int = 2
    steps: int = 8
    recipe: Recipe | None = None
    distillation: Distillation = Hinton()  # noqa: RUF009 - frozen
    name: str = "low_bit"

    def __post_init__(self) -> None:
        check_integers(self, "bits", "steps")
        if self.bits not in (1, 2) or self.steps < 0:
            raise StudyError(
                f"LowBitRecurrent has bits={self.bits} and steps={self.steps}: 1 or 2 bits, and 0 steps or more, are "
                "expected."
            )
        check_recipe("LowBitRecurrent", self.recipe)
        check_distillation("LowBitRecurrent", self.distillation)

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the network after training with low-bit weights.

        A killed training goes on from its checkpoint.

        Raises:
            SpaceError: there are options.
            ExportError: there is no module, or it has no LSTM and no GRU of torch.nn.
            TrainingError: training can't go on.
        """
        check_options(self.choices(), options)
        module = make_working_copy(module_in(model, self.name), lab)
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and replaced
            cells = replace_recurrent(module, self.steps)
        if not cells:
            raise ExportError(
                f"the pass {self.name!r} found no LSTM or GRU of torch.nn in the network: take it out, or use these "
                "layers."
            )
        sample_weights(cells, self.bits)
        recipe = self.recipe or lab.recipe
        train_in(lab, module, recipe, self.distillation, "checkpoint")
        keep_nearest(cells)
        kind = "binary" if self.bits == 1 else "ternary"
        said = f"trained for {describe_epochs(recipe)} with {kind} weights in recurrent layers"
        return make_model(model, module, lab, said)


def replace_recurrent(network: nn.Module, steps: int) -> list[NormedCell]:
    """Put layers with batch norm in the place of torch's LSTM and GRU, in place; return their cells.

    Args:
        network: Layers with a projection (``proj_size``) stay.
        steps: How many steps have statistics of their own; on 0 there is no batch norm.
    """
    made: dict[nn.Module, NormedRecurrent] = {}
    for parent in list(network.modules()):
        for name, layer in parent._modules.items():
            if isinstance(layer, nn.LSTM | nn.GRU) and not layer.proj_size:
                if layer not in made:
                    made[layer] = make_normed_layer(layer, steps)
                parent._modules[name] = made[layer]
    return [cast(NormedCell, cell) for layer in made.values() for cell in layer.cells]


def sample_weights(cells: list[NormedCell], bits: int) -> None:
    """Let cells draw the weights that they use, in place; their real weights get the spread of Glorot's."""
    for cell in cells:
        for name in ("weight_ih", "weight_hh"):
            weight = cell.get_parameter(name)
            rows, columns = weight.shape
            size = weight_size(columns, rows)
            deviation = weight.data.square().mean().sqrt().clamp_min(torch.finfo(weight.dtype).tiny)
            weight.data.mul_(_SPREAD * size / deviation)
            parametrize.register_parametrization(cell, name, LowBitWeights(bits, size))


def keep_nearest(cells: list[NormedCell]) -> None:
    """Undo :func:`sample_weights`, in place, and leave the nearest low-bit weights; in evaluation mode."""
    for cell in cells:
        for name in ("weight_ih", "weight_hh"):
            parametrize.remove_parametrizations(cell, name, leave_parametrized=True)


def weight_size(num_inputs: int, num_outputs: int) -> float:
    """Return what low-bit weights are, but for the sign: half of the bound of Glorot's initial weights."""
    return math.sqrt(6 / (num_inputs + num_outputs)) / 2


@final
class LowBitWeights(nn.Module):
    """Weights of two or three values: in training drawn, so that their mean is the real one, otherwise the nearest.

    Gradients go straight through (Bengio 2013).

    Args:
        bits: 1 for ``-size`` and ``size``, 2 for 0 as well.
        size: What they are, but for the sign.
    """

    def __init__(self, bits: int, size: float) -> None:
        super().__init__()
        self.bits, self.size = bits, size

    def forward(self, real: Tensor) -> Tensor:
        """Return low-bit weights in the shape of the real ones."""
        share = (real.detach() / self.size).clamp(-1, 1)
        if self.bits == 1:
            drawn = torch.rand_like(share) if self.training else 0.5
            signs = torch.where((share + 1) / 2 > drawn, 1.0, -1.0)
        else:
            drawn = torch.rand_like(share) if self.training else 1 / 3
            signs = share.sign() * (share.abs() > drawn)
        return self.size * signs + (real - real.detach())  # in this order the values are exact
