from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from nas.evaluation.from_scratch import fresh_module, fresh_network
from nas.evaluation.reinitialize import reinitialize
from search_spaces.vision_transformer import vision_transformer


class Network(nn.Module):
    """Every kind of parameter that is treated in a way of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16, padding_idx=3)
        self.token = nn.Parameter(torch.randn(1, 16) * 0.02)
        self.zeros = nn.Parameter(torch.zeros(16))
        self.table = nn.Parameter(torch.arange(16.0), requires_grad=False)
        self.attention = nn.MultiheadAttention(16, 2)
        self.weighted = weight_norm(nn.Linear(16, 16))
        self.norm = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.embedding.weight
        nn.init.zeros_(self.weighted.bias)


def trained(network: nn.Module) -> nn.Module:
    """Return the network with weights and statistics that no initialisation gives."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 10 + torch.rand_like(parameter)
    for name, buffer in network.named_buffers():
        if name.startswith("norm.running"):
            buffer += 5
    return network


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network()


def state(network: nn.Module, seed: int) -> dict[str, Tensor]:
    reinitialize(network, seed)
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_weights_depend_on_the_seed_alone(network: Network) -> None:
    first = state(network, 0)
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    again = state(Network(), 0)
    torch.manual_seed(9)
    other = state(network, 1)
    assert torch.equal(torch.rand(1), expected)
    layers = ("attention.in_proj_weight", "attention.out_proj.weight")
    assert all(torch.equal(first[name], again[name]) for name in layers)
    drawn = [
        *layers,
        "token",
        "embedding.weight",
        *(f"weighted.parametrizations.weight.original{i}" for i in (0, 1)),
    ]
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_trained_weights_are_gone_and_statistics_too(network: Network) -> None:
    before = {name: p.clone() for name, p in trained(network).named_parameters()}
    reinitialize(network, 0)
    for name, parameter in network.named_parameters():
        assert (parameter != before[name]).all() == parameter.requires_grad, name
    assert network.norm.running_mean.tolist() == [0] * 16
    assert network.norm.running_var.tolist() == network.norm.weight.tolist() == [1] * 16
    assert network.attention.in_proj_bias.tolist() == [0] * 48


def test_what_is_constant_frozen_or_tied_stays_so(network: Network) -> None:
    spread = network.token.std()
    reinitialize(network, 0)
    assert network.head.weight is network.embedding.weight
    assert network.embedding.weight[3].tolist() == network.zeros.tolist() == [0] * 16
    assert network.weighted.bias.tolist() == [0] * 16
    assert network.table.tolist() == list(range(16))
    assert 0.5 * spread < network.token.std() < 2 * spread


def test_the_smallest_network_begins_as_one_of_its_size_does() -> None:
    architecture = fresh_network(vision, 0).space.smallest()
    module = fresh_module(vision, architecture, 0)
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    assert len(layers) > 10
    for layer in layers:
        fresh = nn.Linear(layer.in_features, layer.out_features)
        assert layer.weight.std().item() == pytest.approx(fresh.weight.std().item(), rel=0.15)
    assert module.get_parameter("1.weight").std().item() == pytest.approx(0.02, rel=0.1)


def test_a_frozen_layer_keeps_its_statistics(network: Network) -> None:
    trained(network).requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    after = state(network, 0)
    assert all(torch.equal(before[name], after[name]) for name in before)


def vision() -> nn.Module:
    return vision_transformer(10, 1, 28)
