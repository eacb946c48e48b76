from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from labs import lab_of
from onnx import numpy_helper
from torch import Tensor, nn

from nas.compression import LowBitRecurrent, Model, PackedFile
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.stored import count_stored_bytes
from nas.inputs import InputSpec
from nas.splits import Split
from nas.testing import check_compression_pass

SPEC = InputSpec.of_one((7,))


def exported(network: nn.Module, spec: InputSpec = SPEC) -> Model:
    return Model(spec, network.eval(), export_onnx(network, spec), ("before",))


def of_values(values: tuple[float, ...], rows: int = 129) -> Model:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(7, rows), nn.ReLU(), nn.Linear(rows, 3))
    with torch.no_grad():
        chosen = torch.randint(0, len(values), (rows, 7))
        network[0].weight.copy_(torch.tensor(values)[chosen])
    return exported(network)


def answers(model: Model, folder: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.onnx, providers=["CPUExecutionProvider"])
    torch.manual_seed(1)
    found: np.ndarray = session.run(None, {"images": torch.randn(5, *model.inputs.shapes[0]).numpy()})[0]
    return found


def packed(model: Model, folder: Path) -> Model:
    made = PackedFile().apply(model, {}, lab_of(Split(torch.zeros(8, 7), torch.arange(8)), folder))
    onnx.checker.check_model(onnx.load_model_from_string(made.onnx), full_check=True)
    return made


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ((-0.3, 0.3), 1),
        ((-0.3, 0.0, 0.3), 2),
        ((-0.0, 0.0, 1e-40, 5.0), 2),
        (tuple(np.linspace(-1, 1, 16)), 4),
    ],
)
def test_answers_are_the_same_out_of_as_few_bits(
    values: tuple[float, ...], bits: int, tmp_path: Path
) -> None:
    model = of_values(values)
    made = packed(model, tmp_path)
    assert np.array_equal(answers(made, tmp_path), answers(model, tmp_path))
    (stored,) = [t for t in _tensors(made) if t.dtype == np.uint8 and t.size > 8]
    assert stored.size == -(-129 * 7 * bits // 8)
    assert made.onnx is not None
    assert model.onnx is not None
    assert count_stored_bytes(made.onnx) < count_stored_bytes(model.onnx) - 129 * 7 * 4 + stored.size + 150
    assert made.applied == ("before", "packed: 1 weights stored in 1, 2 or 4 bits")
    assert made.module is None


def _tensors(model: Model) -> list[np.ndarray]:
    assert model.onnx is not None
    return [numpy_helper.to_array(t) for t in onnx.load_model_from_string(model.onnx).graph.initializer]


def test_what_would_not_gain_stays(tmp_path: Path) -> None:
    for model in (of_values(tuple(np.linspace(-1, 1, 17))), of_values((-0.3, 0.3), rows=3)):
        assert packed(model, tmp_path) is model


class Reading(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(16, 48, batch_first=True), nn.Linear(48, 10)

    def forward(self, steps: Tensor) -> Tensor:
        made: Tensor = self.head(self.layer(steps)[0].mean(1))
        return made


@pytest.mark.parametrize("bits", [1, 2])
def test_a_low_bit_layer_is_stored_in_its_bits(bits: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = InputSpec.of_one((3, 16))
    network = Reading()
    lab = lab_of(Split(torch.randn(64, 3, 16), torch.arange(64) % 10), tmp_path)
    made = LowBitRecurrent(bits, steps=1).apply(Model(spec, network.eval()), {}, lab)
    before, after = exported(made.module, spec), packed(exported(made.module, spec), tmp_path)
    assert np.array_equal(answers(after, tmp_path), answers(before, tmp_path))
    assert before.onnx is not None
    assert after.onnx is not None
    weights = 4 * 48 * (16 + 48)
    assert count_stored_bytes(after.onnx) < count_stored_bytes(before.onnx) - weights * (4 - bits / 8) + 300
    assert len(after.onnx) < len(before.onnx) - weights * (4 - bits / 8)


def test_the_contract_is_kept(tmp_path: Path) -> None:
    network = of_values((-0.3, 0.3)).module
    data = (torch.randn(80, 7), torch.arange(80) % 3, lab_of(Split(torch.zeros(1, 7), torch.arange(1))).task)
    check_compression_pass(PackedFile(), tmp_path, module=network, form=SPEC, data=data)
