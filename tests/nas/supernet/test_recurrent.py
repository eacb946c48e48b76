from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas import choice
from nas.errors import SpaceError
from nas.evaluation.counts import NetworkCounter, count_macs, count_params
from nas.inputs import InputSpec
from nas.supernet import Supernet
from nas.supernet.recurrent import GRU, LSTM

KINDS: list[tuple[Any, type[nn.RNNBase], int]] = [(LSTM, nn.LSTM, 4), (GRU, nn.GRU, 3)]
SIZES = list(itertools.product((3, 5), (4, 6), (1, 2), (1, 2)))


class Reading(nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.layer = kind(
            choice("inputs", 3, 5), choice("width", 4, 6), choice("layers", 1, 2), choice("directions", 1, 2)
        )

    def forward(self, steps: Tensor) -> Tensor:
        made: Tensor = self.layer(steps[..., : self.layer.input_size])[0]
        return made[:, -1]


def first_units(tensor: Tensor, gates: int, count: int) -> Tensor:
    return torch.cat([part[:count] for part in tensor.chunk(gates)])


@pytest.mark.parametrize(("kind", "plain", "gates"), KINDS)
@pytest.mark.parametrize(("inputs", "width", "layers", "directions"), SIZES)
def test_a_layer_is_its_torch_sibling_with_the_first_units_of_each_gate(
    kind: Any, plain: Any, gates: int, inputs: int, width: int, layers: int, directions: int
) -> None:
    torch.manual_seed(0)
    supernet = Supernet(Reading(kind))
    whole = supernet.module.layer
    wanted = plain(inputs, width, layers, batch_first=True, bidirectional=directions == 2)
    for name, parameter in wanted.named_parameters():
        value = first_units(whole.get_parameter(name).detach(), gates, width)
        if "weight_hh" in name:
            value = value[:, :width]
        elif "weight_ih_l0" in name:
            value = value[:, :inputs]
        elif "weight_ih_l1" in name:  # the second direction of the layer before begins at unit 6
            value = torch.cat([value[:, :width], value[:, 6 : 6 + width]], 1)[:, : directions * width]
        parameter.data.copy_(value)
    steps = torch.randn(2, 7, inputs)
    architecture = supernet.space.architecture(
        {"inputs": inputs, "width": width, "layers": layers, "directions": directions}
    )
    with supernet.active(architecture):
        got = whole(steps)
        extracted = whole.extract()
        assert whole.num_active_params() == count_params(wanted)
    assert type(extracted) is plain
    for found in (got, extracted(steps)):
        assert torch.allclose(found[0], wanted(steps)[0], atol=1e-6)
        states = zip(found[1], wanted(steps)[1], strict=True)
        assert all(torch.allclose(one, other, atol=1e-6) for one, other in states)


@pytest.mark.parametrize(("kind", "_plain", "gates"), KINDS)
def test_counts_of_any_size_are_exact_without_running_it(kind: Any, _plain: Any, gates: int) -> None:
    supernet = Supernet(Reading(kind)).eval()
    spec = InputSpec.of_one((7, 5))
    counter = NetworkCounter(supernet, spec)
    assert counter.tables is not None
    architectures = supernet.space.from_indices(torch.tensor(list(itertools.product(*[(0, 1)] * 4))).numpy())
    counts = counter.counts(supernet.space.indices(architectures))
    for architecture, macs, num_params in zip(architectures, counts.macs, counts.num_params, strict=True):
        inputs, width, layers, directions = (
            int(architecture[name]) for name in ("inputs", "width", "layers", "directions")
        )
        taken = inputs + width + (layers - 1) * (directions * width + width)
        assert macs == 7 * gates * width * directions * taken
        plain = supernet.extract(architecture)
        assert (macs, num_params) == (count_macs(plain, spec), count_params(plain))


def test_gradients_reach_the_active_part_alone() -> None:
    supernet = Supernet(Reading(LSTM))
    with supernet.active(supernet.space.smallest()):
        supernet(torch.randn(2, 7, 5)).square().sum().backward()
    layer = supernet.module.layer
    gradient = layer.weight_hh_l0.grad.unflatten(0, (4, 6))
    assert gradient[:, :4, :4].abs().min() > 0
    assert gradient[:, 4:].abs().max() == gradient[:, :, 4:].abs().max() == 0
    assert layer.weight_hh_l1.grad is None
    assert layer.weight_hh_l0_reverse.grad is None


@pytest.mark.parametrize("sizes", [(3, 0), (3, 4, 0), (3, 4, 1, 3), (3, choice("width", 4, 5.5))])
def test_a_size_that_is_none_is_a_sentence(sizes: tuple[Any, ...]) -> None:
    with pytest.raises(SpaceError):
        LSTM(*sizes)
