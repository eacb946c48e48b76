from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from short_training import CPU, StopError, blobs, equal, stop_after, weights
from torch import nn

from nas.errors import StudyError
from nas.splits import Split
from nas.supernet.copying import copy_module
from nas.tasks import Classification
from nas.training import Recipe, make_supervised_step, train
from nas.training.reduced_space import UnitSpheres

CLASSES = Classification(2)


def perceptron() -> nn.Sequential:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(7, 5), nn.ReLU())
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 7), nn.ReLU(), inner, nn.Linear(5, 2))


def hidden(network: nn.Sequential) -> list[Any]:
    return [network[1], network[3][0]]  # type: ignore[index]


def check_held(network: nn.Sequential, longest: float) -> None:
    for layer in hidden(network):
        torch.testing.assert_close(layer.weight.norm(dim=1), torch.ones(layer.out_features))
    assert hidden(network)[0].bias.abs().max() <= longest


@pytest.mark.parametrize("scale", [1e-2, 1.0, 50.0])
@pytest.mark.parametrize("shift", [0.0, -30.0, 30.0])
def test_a_network_computes_what_it_did(scale: float, shift: float) -> None:
    """Whatever its weights and thresholds, also where neurons are never active, or always."""
    network, data = perceptron().double(), blobs()
    data = Split(data.inputs.double(), data.targets)  # type: ignore[union-attr]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(scale)
        for layer in hidden(network):
            layer.bias.add_(scale * shift * torch.randn(layer.out_features))
    before = network(data.inputs)
    UnitSpheres(network, data, CPU)
    for layer in hidden(network):
        assert torch.allclose(layer.weight.norm(dim=1), torch.ones((), dtype=torch.float64))
    longest = data.inputs.flatten(1).norm(dim=1).max()  # type: ignore[union-attr]
    assert hidden(network)[0].bias.abs().max() <= longest
    torch.testing.assert_close(network(data.inputs), before, rtol=1e-9, atol=1e-9)


def test_a_threshold_is_moved_to_the_end_of_its_interval() -> None:
    network = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        for parameter, values in zip(
            network.parameters(), ([[2.0], [-4.0]], [20.0, -32.0], [[1.0, 1.0]], [0.5]), strict=True
        ):
            parameter.copy_(torch.tensor(values))
    data = Split(torch.tensor([[3.0], [-1.0]]), torch.zeros(2))
    UnitSpheres(network, data, CPU)
    assert network[0].weight.tolist() == [[1.0], [-1.0]]
    assert network[0].bias.tolist() == [3.0, -3.0]  # of 10 and -8
    assert network[2].weight.tolist() == [[2.0, 4.0]]
    assert network[2].bias.tolist() == [0.5 + 2 * 7]  # type: ignore[union-attr]


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_a_training_ends_on_the_spheres_and_learns(ema_decay: float | None) -> None:
    network, data = perceptron(), blobs()
    recipe = Recipe(epochs=12, batch_size=16, learning_rate=1e-2, reduced_space=True, ema_decay=ema_decay)
    losses = train(network, make_supervised_step(network, CLASSES, recipe), data, recipe, seed=0, device=CPU)
    check_held(network, float(data.inputs.flatten(1).norm(dim=1).max()))  # type: ignore[union-attr]
    assert losses[-1] < losses[0] / 2


def test_a_training_resumes_bit_for_bit(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=16, reduced_space=True)

    def trained(checkpoint: Path | None = None, stop: int = 0) -> dict[str, torch.Tensor]:
        network = perceptron()
        step = make_supervised_step(network, CLASSES, recipe)
        train(
            network,
            step,
            blobs(),
            recipe,
            seed=1,
            device=CPU,
            checkpoint=checkpoint,
            on_epoch=stop_after(stop),
        )
        return weights(network)

    expected = trained()
    with pytest.raises(StopError):
        trained(tmp_path / "checkpoint.pt", stop=1)
    assert equal(trained(tmp_path / "checkpoint.pt"), expected)


class Normed(nn.Module):
    """Neurons inside of a module of its own, and a layer that another one shares."""

    def __init__(self) -> None:
        super().__init__()
        self.neurons = nn.Sequential(nn.Linear(36, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        self.shared = self.neurons[4]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.shared(self.neurons(images.flatten(1)))


@pytest.mark.parametrize("frozen", [False, True])
def test_what_is_shared_or_frozen_stays(frozen: bool) -> None:
    network = Normed()
    network.shared = nn.Linear(4, 4) if frozen else network.neurons[4]  # type: ignore[assignment]
    network.neurons[4].weight.requires_grad_(not frozen)  # type: ignore[union-attr]
    before, copy = weights(network), copy_module(network)
    UnitSpheres(network, blobs(), CPU)
    after = weights(network)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"neurons.0.weight", "neurons.0.bias", "neurons.2.weight"}
    torch.testing.assert_close(network(blobs().inputs), copy(blobs().inputs))


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(36, 2)),
        nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.GELU(), nn.Linear(4, 2)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)),
    ],
)
def test_a_network_without_such_neurons_is_refused(network: nn.Module) -> None:
    recipe = Recipe(epochs=1, reduced_space=True)
    with pytest.raises(StudyError, match=r"no nn.Linear, nn.ReLU and nn.Linear in a row"):
        train(network, make_supervised_step(network, CLASSES, recipe), blobs(), recipe, seed=0, device=CPU)


def test_several_networks_at_once_are_refused() -> None:
    with pytest.raises(StudyError, match="can't run what is trained"):
        UnitSpheres(nn.ModuleList([perceptron()]), blobs(), CPU)


def test_a_recipe_says_it_only_where_it_is_used() -> None:
    assert "reduced_space" not in repr(Recipe(epochs=1))
    assert "reduced_space=True" in Recipe(epochs=1, reduced_space=True).fingerprint
    with pytest.raises(StudyError, match="reduced_space='yes'"):
        Recipe(epochs=1, reduced_space="yes")  # type: ignore[arg-type]
