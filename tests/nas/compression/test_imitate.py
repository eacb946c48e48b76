from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from short_training import CPU, blobs, equal, weights
from torch import Tensor, nn

import nas.compression.imitate as under_test
from nas.compression.imitate import WideThenNarrow
from nas.compression.maps import insert_maps, match_layers, merge_maps
from nas.compression.pipeline import CompressionPass, Lab, Model
from nas.errors import ExportError, StudyError
from nas.inputs import InputSpec
from nas.tasks import Classification
from nas.testing import check_compression_pass
from nas.training import Recipe

SPEC = InputSpec.of_one((1, 6, 6))
RECIPE = Recipe(epochs=2, batch_size=16)


class Residual(nn.Module):
    """With a depthwise convolution, a branch, and padding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.second = nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect")
        self.head = nn.Linear(16 * width, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        before = self.norm(self.first(inputs)).relu()
        outputs: Tensor = self.head((before + self.second(self.depthwise(before)).relu()).flatten(1))
        return outputs


def deep(width: int, depth: int = 8) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(36, width), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 2)).eval()


def lab(folder: Path, teacher: nn.Module | None) -> Lab:
    return Lab(blobs(), Classification(2), RECIPE, CPU, 0, folder, teacher)


PAIRS = [
    (lambda width: deep(width), [f"{number}" for number in range(3, 17, 2)]),
    (lambda width: Residual(width).eval(), ["second", "head"]),
]


@pytest.mark.parametrize(("make", "layers"), PAIRS)
def test_maps_change_nothing_at_first_and_merge_exactly_later(make: Any, layers: list[str]) -> None:
    torch.manual_seed(0)
    thin, wide = make(4), make(9)
    assert match_layers(thin, wide, SPEC, CPU) == layers
    known, images = weights(thin), blobs().inputs
    before = thin(images)
    insert_maps(thin, wide, layers)
    assert torch.equal(thin(images), before)
    with torch.no_grad():
        for parameter in thin.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    mapped = thin(images)
    merge_maps(thin, layers)
    assert (thin(images) - mapped).abs().max() < 1e-5
    assert {name: value.shape for name, value in weights(thin).items()} == {
        name: value.shape for name, value in known.items()
    }


@pytest.mark.parametrize(("make", "layers"), PAIRS)
def test_the_network_learns_what_its_teacher_has_and_keeps_its_form(
    tmp_path: Path, make: Any, layers: list[str]
) -> None:
    torch.manual_seed(0)
    thin, wide = make(4), make(9)
    known, of_teacher = weights(thin), weights(wide)
    made = WideThenNarrow().apply(Model(SPEC, thin), {}, lab(tmp_path, wide))
    assert made.module is not None
    assert made.applied == (f"imitate {len(layers)} layers of the teacher and its outputs",)
    assert {name: value.shape for name, value in weights(made.module).items()} == {
        name: value.shape for name, value in known.items()
    }
    assert not made.module.training
    assert equal(weights(thin), known)
    assert equal(weights(wide), of_teacher)
    assert not wide._forward_pre_hooks
    task, images = Classification(2), blobs().inputs
    far, near = (task.imitation(network(images), wide(images)) for network in (thin, made.module))
    assert near < far


def test_an_interrupted_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    thin, wide = deep(4, 4), deep(9, 4)

    def imitated(folder: Path) -> dict[str, Tensor]:
        folder.mkdir(exist_ok=True)
        module = WideThenNarrow().apply(Model(SPEC, thin), {}, lab(folder, wide)).module
        assert module is not None
        return weights(module)

    expected = imitated(tmp_path / "whole")
    train, calls = under_test.train, 0

    def dying(*arguments: Any, **named: Any) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return train(*arguments, **named)

    monkeypatch.setattr(under_test, "train", dying)
    with pytest.raises(KeyboardInterrupt):
        imitated(tmp_path / "part")
    monkeypatch.undo()
    assert equal(imitated(tmp_path / "part"), expected)


def test_without_a_better_teacher_the_network_is_left_as_it_is(tmp_path: Path) -> None:
    model = Model(SPEC, deep(4))
    assert WideThenNarrow().apply(model, {}, lab(tmp_path, None)) is model
    assert isinstance(WideThenNarrow(), CompressionPass)


@pytest.mark.parametrize("teacher", [deep(3), nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).eval()])
def test_a_teacher_without_such_layers_is_told(tmp_path: Path, teacher: nn.Module) -> None:
    with pytest.raises(ExportError, match=r"no layer .* counterpart .* leave WideThenNarrow\(\) out"):
        WideThenNarrow().apply(Model(SPEC, deep(4)), {}, lab(tmp_path, teacher))


@pytest.mark.parametrize("settings", [{"layer_epochs": 0}, {"layer_epochs": 1.5}, {"recipe": "long"}])
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=f"WideThenNarrow has {next(iter(settings))}="):
        WideThenNarrow(**settings)


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_compression_pass(WideThenNarrow(), tmp_path)
