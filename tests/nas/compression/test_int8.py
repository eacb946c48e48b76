from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from nas import Int8
from nas.errors import RunDirectoryError
from nas.evaluation import OnnxCandidate
from nas.evaluation.onnx_export import export_onnx
from nas.protocols import Split
from nas.supernet import Supernet, recalibrate
from nas.testing import check_compression_pass
from search_spaces.convnet import convnet


def exported(path: Path) -> tuple[Path, Split]:
    torch.manual_seed(0)
    images = torch.randn(64, 1, 8, 8)
    supernet = Supernet(convnet(classes=10, channels=1, resolution=8))
    module = supernet.extract(supernet.space.sample(np.random.default_rng(0)))
    recalibrate(module, [images])
    (path / "model.onnx").write_bytes(export_onnx(module, (1, 8, 8)))
    return path / "model.onnx", Split(images, torch.arange(64) % 10)


def test_the_contract_is_kept(tmp_path: Path) -> None:
    check_compression_pass(Int8(), tmp_path)


def test_weights_are_int8_within_seven_bits_and_the_file_is_valid(tmp_path: Path) -> None:
    source, split = exported(tmp_path)
    Int8().apply(source, tmp_path / "model.int8.onnx", split)
    model = onnx.load(tmp_path / "model.int8.onnx")
    onnx.checker.check_model(model)
    arrays = [onnx.numpy_helper.to_array(i) for i in model.graph.initializer]
    weights = [a for a in arrays if a.dtype == np.int8 and a.ndim > 1]
    assert weights
    assert all(np.abs(w.astype(int)).max() <= 64 for w in weights)


def test_the_int8_network_answers_nearly_as_the_float_one(tmp_path: Path) -> None:
    source, split = exported(tmp_path)
    Int8().apply(source, tmp_path / "model.int8.onnx", split)
    before = OnnxCandidate(source).predict(split.inputs)
    after = OnnxCandidate(tmp_path / "model.int8.onnx").predict(split.inputs)
    correlation = np.corrcoef(before.flatten().numpy(), after.flatten().numpy())[0, 1]
    assert correlation > 0.95


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    source, split = exported(tmp_path)
    for name in ("one", "two"):
        Int8().apply(source, tmp_path / name, split)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("num_images", [1, 63, 65, 10_000])
def test_any_number_of_calibration_images_will_do(tmp_path: Path, num_images: int) -> None:
    source, split = exported(tmp_path)
    Int8(num_images=num_images).apply(source, tmp_path / "int8.onnx", split)
    assert OnnxCandidate(tmp_path / "int8.onnx").predict(split.inputs[:2]).shape == (2, 10)


def test_the_log_is_left_as_it_was(tmp_path: Path) -> None:
    source, split = exported(tmp_path)
    level = logging.root.level
    Int8().apply(source, tmp_path / "int8.onnx", split)
    assert logging.root.level == level


def test_a_target_that_can_not_be_written_is_a_sentence(tmp_path: Path) -> None:
    source, split = exported(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError):
        Int8().apply(source, tmp_path / "file" / "int8.onnx", split)


def test_a_network_of_linear_layers_alone_is_quantized(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    (tmp_path / "model.onnx").write_bytes(export_onnx(module, (1, 8, 8)))
    split = Split(torch.randn(32, 1, 8, 8), torch.zeros(32, dtype=torch.int64))
    Int8().apply(tmp_path / "model.onnx", tmp_path / "int8.onnx", split)
    assert OnnxCandidate(tmp_path / "int8.onnx").predict(split.inputs).shape == (32, 10)
