from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.compression.adapters import AdaptedLinear, Adapter, FreezeAndReconfigure, Learners
from nas.errors import StudyError

ADAPTERS = [
    FreezeAndReconfigure(0.25),
    FreezeAndReconfigure(0.25, nodes="random"),
    Learners(2),
]
SHAPES = [(12,), (5, 12), (5, 3, 12), (2, 5, 3, 12)]


def adapted(adapter: Adapter, layer: nn.Linear) -> AdaptedLinear:
    """Return a layer that learns in part, after a change of all of its weight."""
    before = layer.weight.detach() + torch.randn(layer.weight.shape)
    made = adapter.adapt(layer, before, torch.Generator().manual_seed(0))
    assert made is not None
    return made


def linear(bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(12, 20, bias=bias)


def changed(layer: AdaptedLinear) -> AdaptedLinear:
    """Return a layer of which all that learns was changed."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn(parameter.shape))
    return layer


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_computes_the_same_before_training_and_after_it_when_it_is_merged(
    adapter: Adapter, shape: tuple[int, ...], bias: bool
) -> None:
    plain, inputs = linear(bias), torch.randn(shape)
    expected = plain(inputs)
    made = adapted(adapter, plain)
    assert torch.equal(made(inputs), expected)
    outputs = changed(made)(inputs)
    merged = made.merge()
    assert not torch.allclose(outputs, expected, atol=0.1)
    assert type(merged) is nn.Linear
    assert (merged(inputs) - outputs).abs().max() <= 1e-5
    assert (torch.nn.functional.linear(inputs, made.weight, made.bias) - outputs).abs().max() <= 1e-5


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
def test_fewer_numbers_learn_and_the_others_stay(adapter: Adapter) -> None:
    plain = linear()
    weight = plain.weight.detach().clone()
    made = adapted(adapter, plain)
    assert sum(p.numel() for p in made.parameters()) < weight.numel() / 2
    change = changed(made).merge().weight - weight
    if isinstance(adapter, Learners):
        assert torch.linalg.matrix_rank(change, atol=1e-4) == adapter.rank
    else:
        assert int((change != 0).any(1).sum()) == 5


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_learning_rows_are_those_of_the_plain_layer(shape: tuple[int, ...], bias: bool) -> None:
    plain = linear(bias)
    made = adapted(FreezeAndReconfigure(0.25), linear(bias))
    rows, inputs = made.get_buffer("rows"), [torch.randn(shape, requires_grad=True) for _ in range(2)]
    inputs[1].data.copy_(inputs[0].data)
    for layer, given in zip((plain, made), inputs, strict=True):
        (
            layer(given).square().sum() + layer(2 * given).sin().sum()
        ).backward()  # called twice, as a network may
    assert torch.allclose(made.get_parameter("learning").grad, plain.weight.grad[rows], atol=1e-4)  # type: ignore[index, arg-type]
    assert torch.allclose(inputs[1].grad, inputs[0].grad, atol=1e-4)  # type: ignore[arg-type]
    if bias:
        assert torch.allclose(made.bias.grad, plain.bias.grad, atol=1e-4)  # type: ignore[arg-type, union-attr]


def test_gradients_are_there_in_lower_precision() -> None:
    made, inputs = adapted(FreezeAndReconfigure(0.25), linear()), torch.randn(5, 12, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = made(inputs).float().square().sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in made.parameters())
    assert inputs.grad is not None


def test_the_nodes_that_changed_most_by_the_l1_norm_learn() -> None:
    plain = linear()
    change = torch.zeros(20, 12)
    change[3] = 0.3  # 3.6 in all
    change[7, 0] = 3.0  # further in the L2 norm, and less in the L1 norm
    change[11] = -0.4
    made = FreezeAndReconfigure(0.1).adapt(plain, plain.weight.detach() + change, torch.Generator())
    assert made is not None
    assert made.get_buffer("rows").tolist() == [3, 11]


def test_branches_begin_along_the_directions_that_changed_most() -> None:
    plain = linear()
    direction = nn.functional.normalize(torch.randn(12), dim=0)
    change = torch.outer(torch.randn(20), direction) + 0.001 * torch.randn(20, 12)
    made = Learners(1).adapt(plain, plain.weight.detach() - change, torch.Generator())
    assert made is not None
    assert abs(made.get_parameter("down")[0] @ direction) > 0.999


@pytest.mark.parametrize("adapter", [FreezeAndReconfigure(0.98), Learners(8)], ids=repr)
def test_a_layer_that_its_part_is_no_smaller_than_learns_as_a_whole(adapter: Adapter) -> None:
    plain = linear()
    assert adapter.adapt(plain, plain.weight.detach(), torch.Generator()) is None


def test_wrong_settings_are_said_in_a_sentence() -> None:
    for share in (0, 1, -1, 1.5, True, "half"):
        with pytest.raises(StudyError, match="FreezeAndReconfigure has retention="):
            FreezeAndReconfigure(share)  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="FreezeAndReconfigure has nodes='best'"):
        FreezeAndReconfigure(nodes="best")  # type: ignore[arg-type]
    for rank in (0, 1.5, None):
        with pytest.raises(StudyError, match="Learners has rank="):
            Learners(rank)  # type: ignore[arg-type]
