from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from short_training import CPU, StopError, blobs, equal, fresh, weights
from torch import nn

import nas.compression.training as under_test
from nas.compression.pipeline import Lab, Model, Pipeline
from nas.compression.schedules import Gradual, MaskSchedule, RigL, StaticMask
from nas.compression.sparse_file import SparseFile
from nas.compression.sparsify import Sparsify, prunable_weights
from nas.errors import ExportError, SpaceError, StudyError
from nas.inputs import InputSpec
from nas.tasks import Classification
from nas.testing import check_compression_pass
from nas.training import BalancedDistillation, Recipe

SCHEDULES = [RigL(updates=6), RigL(begin_with="random"), Gradual(updates=6), StaticMask()]
SPEC = InputSpec.of_one((1, 6, 6))


def lab(folder: Path, **changes: Any) -> Lab:
    settings: dict[str, Any] = {"recipe": Recipe(epochs=3, batch_size=16), "teacher": None, **changes}
    return Lab(blobs(), Classification(2), settings["recipe"], CPU, 0, folder, settings["teacher"])


def sparse(folder: Path, made: Sparsify, **changes: Any) -> nn.Module:
    module = made.apply(Model(SPEC, fresh().eval()), {}, lab(folder, **changes)).module
    assert module is not None
    return module


def kept(module: nn.Module) -> float:
    found = prunable_weights(module).values()
    return sum(int(weight.count_nonzero()) for weight in found) / sum(weight.numel() for weight in found)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("densities", ["uniform", "erk"])
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_the_share_that_is_asked_for_is_left(
    tmp_path: Path, schedule: MaskSchedule, densities: Any, ema_decay: float | None
) -> None:
    before = fresh().eval()
    model = Model(SPEC, before, applied=("first",))
    state = torch.get_rng_state()
    known = weights(before)
    settings = Recipe(epochs=3, batch_size=16, ema_decay=ema_decay)
    made = Sparsify(0.2, schedule, densities).apply(model, {}, lab(tmp_path, recipe=settings))
    assert made.module is not None
    assert kept(made.module) == pytest.approx(0.2, abs=0.01)  # whole weights
    assert made.applied[0] == "first"
    assert re.search(r"sparsify to [\d.]+% of the weights .* nothing faster", made.applied[1])
    assert not made.module.training
    assert equal(weights(before), known)
    assert torch.equal(torch.get_rng_state(), state)
    assert made.module(blobs().inputs).isfinite().all()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_an_interrupted_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: MaskSchedule
) -> None:
    made = Sparsify(0.2, schedule)
    (tmp_path / "whole").mkdir()
    expected = weights(sparse(tmp_path / "whole", made))
    train = under_test.train

    def stop(epoch: int, _loss: float) -> None:
        if epoch == 2:
            raise StopError

    monkeypatch.setattr(under_test, "train", lambda *a, **k: train(*a, **k, on_epoch=stop))
    with pytest.raises(StopError):
        sparse(tmp_path, made)
    monkeypatch.undo()
    assert equal(weights(sparse(tmp_path, made)), expected)


@pytest.mark.parametrize("distilled", [{}, {"distillation": BalancedDistillation()}])
def test_a_teacher_teaches_where_there_is_one(tmp_path: Path, distilled: dict[str, Any]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    alone = sparse(tmp_path / "a", Sparsify(0.2))
    taught = sparse(tmp_path / "b", Sparsify(0.2, **distilled), teacher=fresh().eval())
    assert not equal(weights(alone), weights(taught))
    assert kept(taught) == pytest.approx(0.2, abs=0.01)


def test_all_layers_that_multiply_are_pruned_and_nothing_else() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2)
            self.embedding = nn.Embedding(5, 4)
            self.norm = nn.LayerNorm(4)
            self.layers = nn.Sequential(nn.Conv1d(4, 4, 1), nn.Conv2d(4, 4, 1))
            self.tied = nn.Linear(4, 4)
            self.tied.weight = self.attention.out_proj.weight

    assert set(prunable_weights(Network())) == {
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "layers.0.weight",
        "layers.1.weight",
    }


def test_all_weights_change_nothing_and_a_pass_that_trains_has_nothing_to_choose(tmp_path: Path) -> None:
    model = Model(SPEC, fresh().eval())
    assert Sparsify(1.0).apply(model, {}, lab(tmp_path)) is model
    assert not Pipeline(Sparsify(), SparseFile()).space.choices
    with pytest.raises(SpaceError):
        Sparsify().apply(model, {"sparsify.keep": 1.0}, lab(tmp_path))


def test_frozen_weights_stay_whole(tmp_path: Path) -> None:
    module = fresh().eval()
    module.get_submodule("0").requires_grad_(False)
    made = Sparsify(0.2).apply(Model(SPEC, module), {}, lab(tmp_path)).module
    assert made is not None
    assert equal(weights(made.get_submodule("0")), weights(module.get_submodule("0")))
    assert (made.get_submodule("5").weight == 0).any()  # type: ignore[union-attr]


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_compression_pass(Sparsify(0.2, recipe=Recipe(epochs=1)), tmp_path)


def test_a_network_without_such_layers_is_told(tmp_path: Path) -> None:
    model = Model(SPEC, nn.Sequential(nn.Flatten(), nn.LayerNorm(36)).eval())
    with pytest.raises(ExportError, match=r"no linear layer and no convolution .*leave Sparsify\(\) out"):
        Sparsify().apply(model, {}, lab(tmp_path))


@pytest.mark.parametrize(
    "settings",
    [
        {"keep": 0},
        {"keep": 1.5},
        {"keep": (0.5, 1.0)},
        {"keep": True},
        {"keep": float("nan")},
        {"densities": "even"},
        {"schedule": RigL},
        {"schedule": "rigl"},
        {"distillation": 3},
        {"recipe": 3},
    ],
    ids=str,
)
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=f"Sparsify has {next(iter(settings))}="):
        Sparsify(**settings)
