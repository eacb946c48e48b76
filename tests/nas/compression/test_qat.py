from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.compression import training
from nas.compression.onnx_int8 import quantize
from nas.compression.pipeline import CompressionPass, Lab, Model
from nas.compression.qat import Qat
from nas.devices.onnx_runtime import open_session
from nas.errors import ExportError, StudyError
from nas.evaluation.onnx_export import export_onnx
from nas.inputs import as_spec
from nas.splits import Split
from nas.tasks import Classification
from nas.testing import check_compression_pass
from nas.training import Recipe

SHAPE = (1, 6, 6)
IMAGES = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(0))
RECIPE = Recipe(epochs=1, batch_size=32)


def network(classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 3),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(216, classes)).eval()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    split = Split(IMAGES, (IMAGES.mean((1, 2, 3)) > 0).long())
    return Lab(split, Classification(4), RECIPE, torch.device("cpu"), 0, tmp_path)


def steps(weights: Tensor, axis: int, largest: int) -> Tensor:
    """Return weights as multiples of their channel's scale."""
    others = [dim for dim in range(weights.ndim) if dim != axis]
    return weights * largest / weights.abs().amax(others, keepdim=True)


def test_it_is_a_pass_on_the_module_that_trains() -> None:
    assert isinstance(Qat(), CompressionPass)
    assert (Qat().works_on, Qat().trains, Qat().choices().choices) == ("module", True, ())


def test_the_contract_is_kept(tmp_path: Path) -> None:
    check_compression_pass(Qat(), tmp_path)


@pytest.mark.parametrize("reduce_range", [False, True])
def test_weights_become_what_int8_takes_and_the_structure_stays(lab: Lab, reduce_range: bool) -> None:
    given = network()
    before = copy.deepcopy(given.state_dict())
    made = Qat(reduce_range=reduce_range).apply(Model(as_spec(SHAPE), given), {}, lab)
    assert made.module is not None
    assert made.applied == ("trained for 1 epoch with int8 simulated",)
    assert [type(layer) for layer in made.module.modules()] == [type(layer) for layer in given.modules()]
    assert made.module.state_dict().keys() == before.keys()
    assert all(torch.equal(given.state_dict()[name], value) for name, value in before.items())
    largest = 64 if reduce_range else 127
    for number, axis in ((0, 0), (3, 1), (6, 0)):
        found = steps(made.module.get_parameter(f"{number}.weight").detach(), axis, largest)
        torch.testing.assert_close(found, found.round(), atol=2e-3, rtol=0)
    assert not any(module._forward_pre_hooks for module in made.module.modules())
    assert all(value.requires_grad for value in made.module.parameters())


def test_the_network_answers_nearly_the_same_in_int8(lab: Lab) -> None:
    made = Qat(reduce_range=True, recipe=replace(RECIPE, epochs=3)).apply(
        Model(as_spec(SHAPE), network()), {}, lab
    )
    assert made.module is not None
    content = export_onnx(made.module, SHAPE)
    feed = {"images": IMAGES.numpy()}
    before, after = (
        torch.from_numpy(open_session(file).run(None, feed)[0])
        for file in (content, quantize(content, [IMAGES], reduce_range=True))
    )
    assert (before - after).norm() < 0.05 * before.norm()


def test_statistics_of_batch_norm_fit_the_rounded_network(lab: Lab) -> None:
    made = Qat().apply(Model(as_spec(SHAPE), network()), {}, lab).module
    assert isinstance(made, nn.Sequential)
    assert isinstance(made[1], nn.BatchNorm2d)
    assert made[1].running_mean is not None
    with torch.no_grad():
        expected = made[0](IMAGES).mean((0, 2, 3))
    torch.testing.assert_close(
        made[1].running_mean, expected, atol=0.01, rtol=0
    )  # inputs of uint8 are a bit off


def test_it_learns_from_a_teacher_where_there_is_one(lab: Lab) -> None:
    alone = Qat().apply(Model(as_spec(SHAPE), network()), {}, lab).module
    taught_lab = replace(lab, teacher=network(), folder=lab.folder / "other")
    taught_lab.folder.mkdir()
    taught = Qat().apply(Model(as_spec(SHAPE), network()), {}, taught_lab).module
    assert alone is not None
    assert taught is not None
    assert not torch.equal(alone.get_parameter("6.weight"), taught.get_parameter("6.weight"))


def test_it_goes_on_where_it_was_stopped(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    two = Qat(recipe=replace(RECIPE, epochs=2))
    whole = two.apply(Model(as_spec(SHAPE), network()), {}, lab).module
    (lab.folder / "again").mkdir()
    again = replace(lab, folder=lab.folder / "again")
    trained = training.train

    class StopError(Exception):
        pass

    def stop(*args: Any, **settings: Any) -> list[float]:
        def on_epoch(epoch: int, _loss: float) -> None:
            raise StopError

        return trained(*args, **settings, on_epoch=on_epoch)

    monkeypatch.setattr(training, "train", stop)
    with pytest.raises(StopError):
        two.apply(Model(as_spec(SHAPE), network()), {}, again)
    monkeypatch.undo()
    resumed = two.apply(Model(as_spec(SHAPE), network()), {}, again).module
    assert whole is not None
    assert resumed is not None
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_an_average_of_weights_can_be_asked_for_and_nothing_global_changes(lab: Lab) -> None:
    given = Model(as_spec(SHAPE), network_of_attention())
    state = torch.get_rng_state()
    made = Qat(recipe=replace(RECIPE, ema_decay=0.9), reduce_range=True).apply(given, {}, lab)
    assert torch.equal(state, torch.get_rng_state())
    assert made.module is not None
    found = steps(made.module.get_parameter("attention.in_proj_weight").detach(), 0, 64)
    torch.testing.assert_close(found, found.round(), atol=2e-3, rtol=0)


def network_of_attention() -> nn.Module:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
            self.head = nn.Linear(6, 4)

        def forward(self, images: Tensor) -> Tensor:
            rows = images[:, 0]
            made: Tensor = self.head(self.attention(rows, rows, rows)[0].mean(1))
            return made

    torch.manual_seed(0)
    return Attending().eval()


def test_a_network_that_int8_rounds_nothing_of_is_a_sentence(lab: Lab) -> None:
    with pytest.raises(ExportError, match="no convolution, linear layer or attention"):
        Qat().apply(Model(as_spec(SHAPE), nn.Sequential(nn.BatchNorm2d(1))), {}, lab)


def test_a_file_can_not_be_trained(lab: Lab) -> None:
    with pytest.raises(ExportError, match="only a file is left"):
        Qat().apply(Model(as_spec(SHAPE), None, b"file"), {}, lab)


@pytest.mark.parametrize("settings", [{"recipe": 3}, {"reduce_range": 1}, {"distillation": 1}])
def test_other_settings_are_a_sentence(settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match="Qat has"):
        Qat(**settings)
