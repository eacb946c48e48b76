from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from labs import lab_of
from torch import nn

from nas import Int8
from nas.compression import Model
from nas.compression.applying import export
from nas.errors import StudyError
from nas.evaluation import OnnxCandidate
from nas.inputs import InputSpec
from nas.splits import Split
from nas.supernet import Supernet, recalibrate
from nas.testing import check_compression_pass
from search_spaces.convnet import convnet

FORM = InputSpec.of_one((1, 8, 8))


def exported() -> tuple[Model, Split]:
    torch.manual_seed(0)
    images = torch.randn(64, 1, 8, 8)
    supernet = Supernet(convnet(classes=10, channels=1, resolution=8))
    module = supernet.extract(supernet.space.sample(np.random.default_rng(0)))
    recalibrate(module, [images])
    return export(Model(FORM, module.eval())), Split(images, torch.arange(64) % 10)


def quantized(model: Model, split: Split, made: Int8) -> bytes:
    onnx = made.apply(model, {}, lab_of(split)).onnx
    assert onnx is not None
    return onnx


@pytest.mark.parametrize("made", [Int8(), Int8(bits=(8, 32))])
def test_the_contract_is_kept(tmp_path: Path, made: Int8) -> None:
    check_compression_pass(made, tmp_path)


@pytest.mark.parametrize("bits", [7, (), (8, 16), (8, True)])
def test_other_bits_are_refused(bits: int | tuple[int, ...]) -> None:
    with pytest.raises(StudyError, match="bits"):
        Int8(bits=bits)


@pytest.mark.parametrize(("reduce_range", "largest"), [(True, 64), (False, 127)])
def test_weights_are_int8_within_their_bits_and_the_file_is_valid(reduce_range: bool, largest: int) -> None:
    model = onnx.load_model_from_string(quantized(*exported(), Int8(reduce_range=reduce_range)))
    onnx.checker.check_model(model)
    arrays = [onnx.numpy_helper.to_array(i) for i in model.graph.initializer]
    weights = [a for a in arrays if a.dtype == np.int8 and a.ndim > 1]
    assert weights
    assert max(np.abs(w.astype(int)).max() for w in weights) == largest


def test_the_int8_network_answers_nearly_as_the_float_one() -> None:
    model, split = exported()
    assert model.onnx is not None
    before = OnnxCandidate(model.onnx).predict(split.inputs)
    after = OnnxCandidate(quantized(model, split, Int8())).predict(split.inputs)
    correlation = np.corrcoef(before.flatten().numpy(), after.flatten().numpy())[0, 1]
    assert correlation > 0.95


def test_the_same_model_gives_the_same_bytes() -> None:
    model, split = exported()
    assert quantized(model, split, Int8()) == quantized(model, split, Int8())


@pytest.mark.parametrize("num_images", [1, 63, 65, 10_000])
def test_any_number_of_calibration_images_will_do(num_images: int) -> None:
    model, split = exported()
    made = OnnxCandidate(quantized(model, split, Int8(num_images=num_images)))
    assert made.predict(split.inputs[:2]).shape == (2, 10)


def test_the_log_is_left_as_it_was() -> None:
    level = logging.root.level
    quantized(*exported(), Int8())
    assert logging.root.level == level


def test_a_network_of_linear_layers_alone_is_quantized() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval()
    split = Split(torch.randn(32, 1, 8, 8), torch.zeros(32, dtype=torch.int64))
    made = quantized(export(Model(FORM, module)), split, Int8())
    assert OnnxCandidate(made).predict(split.inputs).shape == (32, 10)
