from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pass_fakes import Stopping, lab_of, model_of, random_split, residual_net

from nas.compression.fine_tune import FineTune
from nas.compression.pipeline import CompressionPass, Model
from nas.errors import ExportError, SpaceError, StudyError
from nas.tasks import Classification
from nas.testing import check_compression_pass
from nas.training import Recipe


def made() -> Model:
    torch.manual_seed(0)
    network = residual_net()
    network[0].weight.requires_grad_(False)
    return model_of(network, random_split(1, 8, 8))


def test_the_contract_is_kept(tmp_path: Path) -> None:
    check_compression_pass(FineTune(), tmp_path)


def test_a_network_learns_and_the_one_before_stays(tmp_path: Path) -> None:
    model, split = made(), random_split(1, 8, 8)
    assert model.module is not None
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    tune = FineTune(Recipe(epochs=12, batch_size=16, learning_rate=0.02))
    assert isinstance(tune, CompressionPass)
    assert tune.trains
    random = torch.get_rng_state()
    tuned = tune.apply(model, {}, lab_of(split, tmp_path))
    assert torch.equal(torch.get_rng_state(), random)
    assert tuned.module is not None
    losses = [Classification(3).loss(m(split.inputs), split.targets) for m in (model.module, tuned.module)]
    assert losses[1] < 0.7 * losses[0]
    assert not tuned.module.training
    assert not tuned.module[0].weight.requires_grad  # as before; it was trained all the same
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())
    assert tuned.applied == ("fine-tuned for 12 epochs",)


def test_a_training_that_was_killed_goes_on(tmp_path: Path) -> None:
    model, split = made(), random_split(1, 8, 8)
    tune, epoch = FineTune(Recipe(epochs=3, batch_size=16)), 48 // 16  # batches
    whole = tune.apply(model, {}, lab_of(split, tmp_path / "whole")).module
    with pytest.raises(KeyboardInterrupt):
        tune.apply(model, {}, lab_of(split, tmp_path / "killed", task=Stopping(2 * epoch + 1)))
    resumed = tune.apply(model, {}, lab_of(split, tmp_path / "killed", task=Stopping(epoch))).module
    assert whole is not None
    assert resumed is not None
    assert torch.equal(whole(split.inputs), resumed(split.inputs))


def test_a_teacher_is_listened_to_and_left_as_it_is(tmp_path: Path) -> None:
    model, split = made(), random_split(1, 8, 8)
    teacher = residual_net(4).eval()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    alone = FineTune().apply(model, {}, lab_of(split, tmp_path / "alone"))
    taught = FineTune().apply(model, {}, lab_of(split, tmp_path / "taught", teacher))
    assert alone.module is not None
    assert taught.module is not None
    assert not torch.equal(alone.module(split.inputs), taught.module(split.inputs))
    assert taught.applied == ("fine-tuned for 1 epoch",)
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())


def test_wrong_use_is_said_in_a_sentence(tmp_path: Path) -> None:
    model, lab = made(), lab_of(random_split(1, 8, 8), tmp_path)
    with pytest.raises(StudyError, match="FineTune has recipe=3"):
        FineTune(recipe=3)  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="FineTune has distillation='hinton'"):
        FineTune(distillation="hinton")  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="'fine_tune' works on a module"):
        FineTune().apply(Model(model.inputs), {}, lab)
    with pytest.raises(SpaceError, match="epochs"):
        FineTune().apply(model, {"epochs": 3}, lab)
