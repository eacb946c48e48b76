from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from labs import lab_of
from torch import Tensor, nn

from nas.compression import LowBitRecurrent, Model, training
from nas.compression.low_bit_recurrent import LowBitWeights, weight_size
from nas.compression.pipeline import CompressionPass, Lab
from nas.data import Digits
from nas.errors import ExportError, StudyError
from nas.evaluation.candidate import OnnxCandidate
from nas.evaluation.onnx_export import export_onnx
from nas.inputs import as_spec
from nas.splits import Split
from nas.tasks import Classification
from nas.testing import check_compression_pass
from nas.training import Recipe

FORM = (5, 3)
ROWS = torch.randn(80, *FORM, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(80) % 10


class Network(nn.Module):
    def __init__(self, kind: Any = nn.LSTM, features: int = 3, width: int = 6, **settings: Any) -> None:
        super().__init__()
        self.layer = kind(features, width, batch_first=True, **settings)
        self.head = nn.Linear(width * (1 + self.layer.bidirectional), 10)

    def forward(self, rows: Tensor) -> Tensor:
        made: Tensor = self.head(self.layer(rows)[0].mean(1))
        return made


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return lab_of(Split(ROWS, TARGETS), tmp_path)


def model_of(network: nn.Module) -> Model:
    return Model(as_spec(FORM), network.eval())


@pytest.mark.parametrize(
    ("bits", "settings"), [(1, {"kind": nn.GRU}), (2, {"num_layers": 2, "bidirectional": True})]
)
def test_the_contract_is_kept(bits: int, settings: dict[str, Any], tmp_path: Path) -> None:
    made = LowBitRecurrent(bits, steps=2)
    assert isinstance(made, CompressionPass)
    data = (ROWS, TARGETS, Classification(10))
    check_compression_pass(made, tmp_path, module=Network(**settings), form=FORM, data=data)


@pytest.mark.parametrize("bits", [1, 2])
def test_drawn_weights_have_the_real_ones_as_means_and_gradients_go_straight_through(bits: int) -> None:
    torch.manual_seed(0)
    size = 0.3
    real = torch.tensor([-0.9, -0.3, -0.2, -0.01, 0.0, 0.1, 0.25, 0.3, 2.0]).requires_grad_()
    drawn = LowBitWeights(bits, size)(real.expand(20_000, 9))
    allowed = torch.tensor([-size, size] if bits == 1 else [-size, 0.0, size])
    assert torch.isclose(drawn[..., None], allowed).any(-1).all()
    torch.testing.assert_close(drawn.mean(0), real.clamp(-size, size), atol=0.01, rtol=0)
    (drawn[0] * torch.arange(9.0)).sum().backward()
    assert torch.equal(real.grad, torch.arange(9.0))


def test_outside_of_training_each_weight_is_the_nearest_value() -> None:
    real = torch.tensor([-0.9, -0.16, -0.14, -0.05, 0.05, 0.09, 0.11, 0.4])
    binary, ternary = (LowBitWeights(bits, 0.3).eval()(real) for bits in (1, 2))
    assert torch.equal(binary, 0.3 * torch.tensor([-1.0, -1, -1, -1, 1, 1, 1, 1]))
    assert torch.equal(ternary, 0.3 * torch.tensor([-1.0, -1, -1, 0, 0, 0, 1, 1]))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_the_exported_file_says_the_same_for_any_batch(kind: Any, lab: Lab) -> None:
    network = Network(kind, num_layers=2, bidirectional=True)
    made = LowBitRecurrent(2, steps=3).apply(model_of(network), {}, lab).module
    candidate = OnnxCandidate(export_onnx(made, FORM))
    for count in (1, 7):
        with torch.no_grad():
            torch.testing.assert_close(candidate.predict(ROWS[:count]), made(ROWS[:count]))


@pytest.mark.parametrize(("bits", "values"), [(1, (-1, 1)), (2, (-1, 0, 1))])
def test_weights_end_as_exactly_two_or_three_values(lab: Lab, bits: int, values: tuple[int, ...]) -> None:
    made = LowBitRecurrent(bits, steps=5).apply(model_of(Network()), {}, lab).module
    (cell,) = made.get_submodule("layer.cells")
    for name, columns in (("weight_ih", 3), ("weight_hh", 6)):
        size = weight_size(columns, 24)
        assert size == math.sqrt(6 / (columns + 24)) / 2
        found = cell.get_parameter(name).detach().unique()
        assert torch.equal(found, size * torch.tensor(values, dtype=torch.float32))
    assert [name for name, _ in made.named_parameters() if "parametrizations" in name] == []


def test_statistics_fit_the_weights_that_are_kept(lab: Lab) -> None:
    made = LowBitRecurrent(2, steps=5).apply(model_of(Network()), {}, lab).module
    (cell,) = made.get_submodule("layer.cells")
    with torch.no_grad():
        expected = (ROWS[:, 3] @ cell.weight_ih.t()).mean(0)
    torch.testing.assert_close(cell.input_norm.running_mean[3], expected)


def test_batch_norm_is_what_lets_low_bit_weights_learn(tmp_path: Path) -> None:
    splits = Digits().load()
    rows = splits.train.batch(slice(0, 400)).squeeze(1)
    split = Split(rows, splits.train.targets[:400])
    lab = replace(lab_of(split, tmp_path), recipe=Recipe(12, batch_size=50, learning_rate=1e-2))
    right = {}
    for steps in (8, 0):
        torch.manual_seed(0)
        model = Model(as_spec((8, 8)), Network(features=8, width=16))
        here = replace(lab, folder=tmp_path / str(steps))
        here.folder.mkdir()
        made = LowBitRecurrent(2, steps).apply(model, {}, here).module
        with torch.no_grad():
            right[steps] = float((made(rows).argmax(1) == split.targets).double().mean())
    assert right[8] > right[0] + 0.1


def test_it_goes_on_where_it_was_stopped(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    two = LowBitRecurrent(1, recipe=Recipe(epochs=2, batch_size=32))
    whole = two.apply(model_of(seeded()), {}, lab).module
    again = replace(lab, folder=lab.folder / "again")
    again.folder.mkdir()
    trained = training.train

    class StopError(Exception):
        pass

    def stop(*args: Any, **settings: Any) -> list[float]:
        def on_epoch(epoch: int, _loss: float) -> None:
            raise StopError

        return trained(*args, **settings, on_epoch=on_epoch)

    monkeypatch.setattr(training, "train", stop)
    with pytest.raises(StopError):
        two.apply(model_of(seeded()), {}, again)
    monkeypatch.undo()
    resumed = two.apply(model_of(seeded()), {}, again).module
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def seeded() -> Network:
    torch.manual_seed(0)
    return Network()


def test_a_network_without_recurrent_layers_is_a_sentence(lab: Lab) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(15, 10))
    with pytest.raises(ExportError, match="no LSTM or GRU"):
        LowBitRecurrent().apply(model_of(network), {}, lab)


@pytest.mark.parametrize(
    "settings",
    [{"bits": 3}, {"bits": True}, {"steps": -1}, {"steps": 1.5}, {"recipe": 3}, {"distillation": 1}],
)
def test_other_settings_are_a_sentence(settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match="LowBitRecurrent has"):
        LowBitRecurrent(**settings)
