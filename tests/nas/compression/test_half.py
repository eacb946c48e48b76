from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from nas.choices import Choice
from nas.compression.half import Half
from nas.compression.pipeline import CompressionPass, Lab, Model
from nas.devices.onnx_runtime import open_session
from nas.errors import StudyError
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.stored import count_stored_bytes
from nas.inputs import as_spec
from nas.splits import Split
from nas.tasks import Classification
from nas.testing import check_compression_pass
from nas.training import Recipe

SHAPE = (1, 6, 6)
IMAGES = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    split = Split(IMAGES, torch.zeros(5, dtype=torch.int64))
    return Lab(split, Classification(4), Recipe(epochs=1), torch.device("cpu"), 0, tmp_path)


def model(scale: float = 1.0) -> Model:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 64), nn.Linear(64, 4)
    ).eval()
    module[3].weight.data *= scale
    return Model(as_spec(SHAPE), module, export_onnx(module, SHAPE))


def answers(content: bytes | None) -> np.ndarray:
    assert content is not None
    made: np.ndarray = open_session(content).run(None, {"images": IMAGES.numpy()})[0]
    return made


@pytest.mark.parametrize("computes", [False, True])
def test_a_file_of_half_the_bytes_answers_nearly_the_same(lab: Lab, computes: bool) -> None:
    given = model()
    made = Half(computes=computes).apply(given, {}, lab)
    assert made.onnx is not None
    assert given.onnx is not None
    assert count_stored_bytes(made.onnx) < 0.51 * count_stored_bytes(given.onnx)
    onnx.checker.check_model(onnx.load_model_from_string(made.onnx))
    np.testing.assert_allclose(answers(made.onnx), answers(given.onnx), atol=5e-3)
    assert answers(made.onnx).dtype == np.float32
    assert made.module is None


def test_a_file_without_a_weight_to_store_so_stays_as_it_is(lab: Lab) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 1)).eval()
    given = Model(as_spec(SHAPE), module, export_onnx(module, SHAPE))
    assert Half().apply(given, {}, lab) is given


@pytest.mark.parametrize("made", [Half(bits=(16, 32)), Half(computes=True)])
def test_the_contract_is_kept(tmp_path: Path, made: Half) -> None:
    check_compression_pass(made, tmp_path)


def test_what_is_too_large_for_float16_stays_float32(lab: Lab) -> None:
    given = model(scale=1e7)
    made = Half().apply(given, {}, lab)
    assert np.isfinite(answers(made.onnx)).all()
    np.testing.assert_allclose(answers(made.onnx), answers(given.onnx), rtol=5e-2)


def test_it_is_a_pass_whose_largest_option_changes_nothing(lab: Lab) -> None:
    made = Half(bits=(16, 32))
    given = model()
    assert isinstance(made, CompressionPass)
    assert (made.works_on, made.trains) == ("file", False)
    assert made.choices().choices == (Choice("half.bits", (16, 32)),)
    assert Half().choices().choices == ()
    assert made.apply(given, {"half.bits": 32}, lab) is given
    assert made.apply(given, {"half.bits": 16}, lab).onnx == Half().apply(given, {}, lab).onnx


@pytest.mark.parametrize("settings", [{"bits": 8}, {"bits": True}, {"bits": (32, 16)}])
def test_other_settings_are_a_sentence(settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=r"bits=|block_size="):
        Half(**settings)
