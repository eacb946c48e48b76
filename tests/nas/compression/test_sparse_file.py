from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from short_training import CPU, blobs
from torch import nn

from nas.compression.pipeline import Lab, Model, Pipeline
from nas.compression.sparse_file import SparseFile
from nas.errors import ExportError
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.stored import count_stored_bytes
from nas.inputs import InputSpec
from nas.tasks import Classification
from nas.testing import check_compression_pass
from nas.training import Recipe

SPEC = InputSpec.of_one((1, 8, 8))


def exported(share: float) -> Model:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 32), nn.Linear(32, 2)
    ).eval()
    with torch.no_grad():
        for weight in (network[0].weight, network[3].weight):
            weight.mul_(torch.rand(weight.shape) < share)
    return Model(SPEC, network, export_onnx(network, SPEC), ("zeros",))


def stored(model: Model, folder: Path) -> Model:
    return SparseFile().apply(model, {}, Lab(blobs(), Classification(2), Recipe(epochs=1), CPU, 0, folder))


def answers(model: Model) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.onnx, providers=["CPUExecutionProvider"])
    torch.manual_seed(1)
    found: np.ndarray = session.run(None, {"images": torch.randn(5, 1, 8, 8).numpy()})[0]
    return found


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_answers_are_the_same_out_of_fewer_bytes(tmp_path: Path, share: float) -> None:
    dense = exported(share)
    sparse = stored(dense, tmp_path)
    assert sparse.onnx is not None
    assert dense.onnx is not None
    onnx.checker.check_model(onnx.load_model_from_string(sparse.onnx), full_check=True)
    assert np.array_equal(answers(sparse), answers(dense))
    assert len(sparse.onnx) < (3.2 * share + 0.05) * len(dense.onnx)
    assert isinstance(dense.module, nn.Sequential)
    pruned = [dense.module[0].weight, dense.module[3].weight]
    left = sum(int(weight.count_nonzero()) for weight in pruned)
    whole = sum(parameter.numel() for parameter in dense.module.parameters())
    biases = whole - sum(weight.numel() for weight in pruned)
    assert count_stored_bytes(dense.onnx) == 4 * whole
    assert count_stored_bytes(sparse.onnx) == 12 * left + 4 * biases  # positions take 8
    assert sparse.module is dense.module
    assert sparse.applied == ("zeros", "sparse: 2 weights stored as what isn't 0, and where")


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_what_would_not_gain_stays(tmp_path: Path, share: float) -> None:
    model = exported(share)
    assert stored(model, tmp_path) is model


def test_a_weight_so_small_that_names_count_stays(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten()).eval()
    with torch.no_grad():
        network[0].weight[..., 1:] = 0
        network[0].weight[..., 1:, :] = 0
    model = Model(SPEC, network, export_onnx(network, SPEC))
    assert stored(model, tmp_path) is model


def test_without_a_file_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="works on a file and there is none"):
        stored(Model(SPEC, nn.Identity()), tmp_path)


def test_it_is_a_pass_on_the_file() -> None:
    assert Pipeline(SparseFile()).on_file
    assert not Pipeline(SparseFile()).space.choices


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_compression_pass(SparseFile(), tmp_path)
