from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from nas.choices import Choice
from nas.compression.pipeline import CompressionPass, Lab, Model
from nas.compression.weight_only import WeightOnly
from nas.devices.onnx_runtime import open_session
from nas.errors import ExportError, StudyError
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.stored import count_stored_bytes
from nas.inputs import InputSpec
from nas.splits import Split
from nas.supernet import Supernet
from nas.tasks import Classification
from nas.testing import check_compression_pass
from nas.training import Recipe
from search_spaces.text_transformer import text_transformer

IDS = torch.randint(0, 500, (6, 12), generator=torch.Generator().manual_seed(0))
SPEC = InputSpec(("ids",), ((12,),), (torch.int64,))


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    supernet = Supernet(text_transformer(2, num_tokens=500, length=12))
    module = supernet.extract(supernet.space.sample(np.random.default_rng(1))).eval()
    return Model(SPEC, module, export_onnx(module, SPEC))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    split = Split(IDS, torch.zeros(6, dtype=torch.int64))
    return Lab(split, Classification(2), Recipe(epochs=1), torch.device("cpu"), 0, tmp_path)


def answers(content: bytes | None) -> np.ndarray:
    assert content is not None
    made: np.ndarray = open_session(content).run(None, {"ids": IDS.numpy()})[0]
    return made


@pytest.mark.parametrize(("bits", "share", "error"), [(4, 0.25, 0.3), (8, 0.36, 0.03)])
def test_the_text_encoder_shrinks_and_answers_nearly_the_same(
    model: Model, lab: Lab, bits: int, share: float, error: float
) -> None:
    made = WeightOnly(bits=bits).apply(model, {}, lab)
    assert made.onnx is not None
    assert model.onnx is not None
    assert count_stored_bytes(made.onnx) < share * count_stored_bytes(model.onnx)
    before, after = answers(model.onnx), answers(made.onnx)
    assert np.linalg.norm(after - before) < error * np.linalg.norm(before)
    kinds = [node.op_type for node in onnx.load_model_from_string(made.onnx).graph.node]
    assert kinds.count("GatherBlockQuantized") == 1
    assert ("MatMulNBits" in kinds) == (bits == 4)
    assert made.module is None


def test_the_contract_is_kept(model: Model, tmp_path: Path) -> None:
    data = (torch.randint(0, 500, (70, 12)), torch.arange(70) % 2, Classification(2))
    check_compression_pass(WeightOnly(bits=(4, 8, 32)), tmp_path, module=model.module, form=SPEC, data=data)


class Twice(nn.Module):
    """A table of odd width, and one layer that is used twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(500, width), nn.Linear(width, width)

    def forward(self, ids: Tensor) -> Tensor:
        made: Tensor = self.layer(self.layer(self.table(ids)).relu()).mean(1)
        return made


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("width", [20, 21, 64])
def test_any_width_can_be_done_and_a_weight_that_is_used_twice(lab: Lab, bits: int, width: int) -> None:
    torch.manual_seed(0)
    module = Twice(width).eval()
    given = Model(SPEC, module, export_onnx(module, SPEC))
    made = WeightOnly(bits=bits).apply(given, {}, lab)
    scale = np.abs(answers(given.onnx)).max()
    np.testing.assert_allclose(answers(made.onnx), answers(given.onnx), atol=0.2 * scale)


def test_a_network_without_such_weights_is_a_sentence(lab: Lab) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).eval()
    spec = InputSpec.of_one((1, 12))
    with pytest.raises(ExportError, match="no MatMul with constant weights"):
        WeightOnly().apply(Model(spec, module, export_onnx(module, spec)), {}, lab)


def test_the_log_stays_as_it_was(model: Model, lab: Lab) -> None:
    before = (list(logging.root.handlers), logging.root.level)
    WeightOnly().apply(model, {}, lab)
    assert (list(logging.root.handlers), logging.root.level) == before


def test_importing_it_leaves_the_root_logger_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    for name in ("nas.compression.weight_only", "onnxruntime.quantization.matmul_nbits_quantizer"):
        monkeypatch.delitem(sys.modules, name)
    importlib.import_module("nas.compression.weight_only")
    assert logging.root.handlers == []


def test_it_is_a_pass_whose_largest_option_changes_nothing(model: Model, lab: Lab) -> None:
    made = WeightOnly(bits=(4, 8, 32))
    assert isinstance(made, CompressionPass)
    assert (made.works_on, made.trains) == ("file", False)
    assert made.choices().choices == (Choice("weights.bits", (4, 8, 32)),)
    assert WeightOnly().choices().choices == ()
    assert made.apply(model, {"weights.bits": 32}, lab) is model
    assert made.apply(model, {"weights.bits": 4}, lab).onnx == WeightOnly().apply(model, {}, lab).onnx


@pytest.mark.parametrize(
    "settings", [{"bits": 2}, {"block_size": 24}, {"block_size": 8}, {"block_size": 1.5}]
)
def test_other_settings_are_a_sentence(settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=r"bits=|block_size="):
        WeightOnly(**settings)
