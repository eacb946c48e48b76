"""A whole study on a network that wasn't written for it, with every kind of choice that a conversion can add."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import FewDigits, run_in, tiny_study
from torch import Tensor, nn

import nas
from nas import Accuracy, Constraint, Macs, Recipe, Trust, Winners
from nas.evaluation import NetworkCounter, OnnxCandidate
from nas.report.results import Results
from nas.supernet import Supernet, elastic_module
from nas.supernet.resized import Resized

SHAPE = (1, 8, 8)


class Block(nn.Module):
    """Adds what two convolutions make of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(16, 24, 3, padding=1), nn.BatchNorm2d(24)
        self.act, self.second = nn.ReLU(), nn.Conv2d(24, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.act(self.norm(self.first(x))))


def existing_network() -> nn.Module:
    stem = (nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU())
    blocks = nn.Sequential(Block(), Block())
    plain = nn.Sequential(*stem, blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    example = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    return elastic_module(plain, example, kernels=(3,), activations=("relu", "hardswish"), resolutions=(4, 6))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, whose winners must have smaller images: no network is cheap enough with whole ones."""
    supernet = Supernet(existing_network()).eval()
    cheapest = {**supernet.space.smallest(), "resolution": 8}
    macs = (
        NetworkCounter(supernet, SHAPE)
        .counts(supernet.space.indices([supernet.space.architecture(cheapest)]))
        .macs
    )
    study = tiny_study(
        network=existing_network,
        data=FewDigits(),
        objectives=(Accuracy(), Macs()),
        constraints=(Constraint(Macs(), at_most=0.9 * float(macs[0])),),
        evaluations=4,
        recipe=Recipe(epochs=1, batch_size=32, learning_rate=0.01),
        winners=Winners(count=1, recipe=Recipe(epochs=1, batch_size=64, learning_rate=1e-3)),
        trust=Trust(count=0),
    )
    path = tmp_path_factory.mktemp("runs") / "converted"
    run_in(study, path)
    return path


def test_every_kind_of_choice_is_searched() -> None:
    kinds = {name.rpartition(".")[2] for name in Supernet(existing_network()).space.largest()}
    assert kinds == {"width", "depth", "kernel", "activation", "resolution"}


def test_a_winner_for_smaller_images_is_loaded_as_it_was_exported(run: Path) -> None:
    (winner,) = Results.read(run / "report.json").winners
    folder = run / "winners" / winner.id
    module = nas.load(folder, existing_network)
    assert isinstance(module, Resized)
    assert module.side < module.given == 8
    images = torch.randn(8, *SHAPE)
    with torch.no_grad():
        assert torch.allclose(module(images), OnnxCandidate(folder / "model.onnx").predict(images), atol=1e-4)
