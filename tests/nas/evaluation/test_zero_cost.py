from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.errors import StudyError
from nas.evaluation.zero_cost import (
    SCORES,
    ScoredOn,
    ZeroCost,
    applicable,
    grad_norm,
    jacov,
    naswot,
    score_untrained,
    synflow,
)
from nas.inputs import InputSpec
from nas.tasks import Classification, Regression


def linear(*weights: list[list[float]], bias: bool = False) -> nn.Sequential:
    layers = []
    for values in weights:
        weight = torch.tensor(values)
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias)
        layer.weight = nn.Parameter(weight)
        layers.append(layer)
    return nn.Sequential(*layers)


def on(inputs: Tensor, targets: Tensor | None = None, task: Any = None) -> ScoredOn:
    if targets is None:
        targets = torch.zeros(len(inputs), dtype=torch.int64)
    return ScoredOn(inputs, targets, task or Classification(2))


def test_synflow_of_a_chain_is_the_product_of_absolute_weights_once_for_each() -> None:
    chain = linear([[-2.0]], [[3.0]], [[-0.5]])
    assert synflow(chain, on(torch.randn(4, 1))) == pytest.approx(math.log(3 * 2 * 3 * 0.5))


def test_synflow_sums_over_all_paths() -> None:
    network = nn.Sequential(*linear([[1.0, -2.0], [0.0, 3.0]]), nn.ReLU(), *linear([[-1.0, 4.0]]))
    paths = 1 * 1 + 2 * 1 + 0 * 4 + 3 * 4
    assert synflow(network, on(torch.randn(3, 2))) == pytest.approx(math.log(2 * paths))


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm1d(2), nn.LayerNorm(2), nn.GroupNorm(1, 2), nn.RMSNorm(2), nn.BatchNorm1d(2, affine=False)],
)
def test_synflow_passes_over_normalisation(norm: nn.Module) -> None:
    first, second = linear([[1.0, -2.0], [0.5, 3.0]]), linear([[-1.0, 4.0]])
    batch = on(torch.randn(5, 2))
    normalised = synflow(nn.Sequential(*first, norm, *second), batch)
    assert normalised == synflow(nn.Sequential(*first, *second), batch)


def test_synflow_holds_what_single_precision_does_not() -> None:
    deep = linear(*[[[1e10]]] * 8)
    assert synflow(deep, on(torch.randn(2, 1))) == pytest.approx(math.log(8) + 80 * math.log(10))


def test_naswot_is_the_log_determinant_of_the_agreements() -> None:
    network = nn.Sequential(*linear([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), nn.ReLU())
    items = torch.tensor([[1.0, 1.0], [1.0, -2.0], [-1.0, -1.0]])  # codes 110, 101, 001
    kernel = torch.tensor([[3.0, 1.0, 0.0], [1.0, 3.0, 2.0], [0.0, 2.0, 3.0]])
    assert naswot(network, on(items)) == pytest.approx(math.log(torch.linalg.det(kernel)))


@pytest.mark.parametrize(
    "activation",
    [nn.ReLU(inplace=True), nn.ReLU6(), nn.GELU(), nn.SiLU(inplace=True), nn.Hardswish(), nn.LeakyReLU()],
)
def test_naswot_sees_relatives_of_relu(activation: nn.Module) -> None:
    layers, items = linear([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), torch.randn(3, 2)
    expected = naswot(nn.Sequential(*layers, nn.ReLU()), on(items))
    assert naswot(nn.Sequential(*layers, activation), on(items)) == pytest.approx(expected)


def test_naswot_sees_the_activation_inside_a_layer_of_attention() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
    assert math.isfinite(naswot(layer, on(torch.randn(4, 5, 8))))


def test_jacov_of_uncorrelated_gradients_is_the_best_there_is() -> None:
    class Different(nn.Module):
        """The gradient of each item is its own row of ``rows``."""

        def __init__(self, rows: list[list[float]]) -> None:
            super().__init__()
            self.rows = nn.Parameter(torch.tensor(rows))

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs * self.rows

    items = on(torch.randn(2, 4))
    orthogonal = Different([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
    alike = Different([[1.0, -1.0, 1.0, -1.0], [1.0, -1.0, 1.0, -0.9]])
    k = 1e-5
    assert jacov(orthogonal, items) == pytest.approx(-math.log(2 * (math.log(1 + k) + 1 / (1 + k))))
    assert jacov(alike, items) < jacov(orthogonal, items)


def test_grad_norm_is_that_of_the_loss() -> None:
    network = linear([[2.0]], bias=True)
    network[0].bias = nn.Parameter(torch.zeros(1))
    inputs, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [0.0]])
    task = Regression(1)
    weight = network[0].weight
    expected = torch.autograd.grad(task.loss(network(inputs), targets), weight)[0].abs().item()
    assert grad_norm(network, on(inputs, targets, task)) == pytest.approx(math.log(expected))


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(216, 2)
    )


def words() -> nn.Module:
    torch.manual_seed(0)

    class Pooled(nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            return tokens.mean(dim=1)

    layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
    return nn.Sequential(nn.Embedding(50, 8), layer, Pooled(), nn.Linear(8, 2))


@pytest.mark.parametrize("name", SCORES)
def test_a_score_follows_from_the_seed_and_keeps_the_weights(name: str) -> None:
    module = convolutional()
    before = copy.deepcopy(list(module.parameters()))
    batch = on(torch.randn(8, 1, 8, 8), torch.arange(8) % 2)
    state = torch.get_rng_state()
    scores = [score_untrained(name, module, batch, seed=3) for _ in range(2)]
    assert scores[0] == scores[1]
    assert math.isfinite(scores[0])
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(p, q) for p, q in zip(module.parameters(), before, strict=True))


def test_networks_of_ids_have_every_score_but_that_of_their_gradients() -> None:
    form = InputSpec.of_one((6,), torch.int64, "tokens")
    assert applicable(tuple(SCORES), form) == ("synflow", "naswot", "grad_norm")
    batch = on(torch.randint(1, 50, (4, 6)), torch.arange(4) % 2)
    scores = [score_untrained(name, words(), batch, seed=0) for name in applicable(tuple(SCORES), form)]
    assert all(map(math.isfinite, scores))


def without_activations() -> nn.Module:
    return linear([[1.0, 2.0]])


def cut_off() -> nn.Module:
    class Nothing(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return torch.zeros_like(inputs)

    return nn.Sequential(Nothing(), *linear([[1.0, 2.0]], bias=True))


def dead() -> nn.Module:
    return linear([[0.0, 0.0]])


@pytest.mark.parametrize(
    ("name", "make"),
    [("naswot", without_activations), ("synflow", dead), ("jacov", dead), ("jacov", cut_off)],
)
def test_a_score_that_is_not_finite_is_nan(name: str, make: Callable[[], nn.Module]) -> None:
    assert math.isnan(score_untrained(name, make(), on(torch.randn(4, 2)), seed=0))


def test_a_score_that_cannot_be_computed_says_what_to_do() -> None:
    class Single(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs @ torch.ones(2, 2)

    with pytest.raises(StudyError, match=r"'synflow'.*leave it out of ZeroCost"):
        score_untrained("synflow", nn.Sequential(Single(), *without_activations()), on(torch.randn(4, 2)), 0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scores": ("synflw",)}, "synflw"),
        ({"scores": ()}, "some of"),
        ({"scores": ["synflow"]}, "a tuple"),
        ({"scores": ("synflow", "synflow")}, "each once"),
        ({"share": 0.0}, "share"),
        ({"at_most": 10}, "at_least"),
        ({"items": 1}, "items"),
        ({"items": 2.5}, "items"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(StudyError, match=told):
        dataclasses.replace(ZeroCost(), **change)
