from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from sklearn.cluster import KMeans
from torch import nn

from nas.choices import Choice
from nas.compression.cluster import Cluster, codebook, nearest
from nas.compression.onnx_int8 import quantize
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


def model() -> Model:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 65), nn.Linear(65, 4)
    ).eval()
    return Model(as_spec(SHAPE), module, export_onnx(module, SHAPE))


def answers(content: bytes | None) -> np.ndarray:
    assert content is not None
    made: np.ndarray = open_session(content).run(None, {"images": IMAGES.numpy()})[0]
    return made


@pytest.mark.parametrize(("bits", "share", "error"), [(8, 0.45, 0.01), (4, 0.18, 0.1)])
def test_the_file_shrinks_and_answers_nearly_the_same(
    lab: Lab, bits: int, share: float, error: float
) -> None:
    given = model()
    made = Cluster(bits=bits).apply(given, {}, lab)
    assert made.onnx is not None
    assert given.onnx is not None
    assert count_stored_bytes(made.onnx) < share * count_stored_bytes(given.onnx)
    assert len(made.onnx) < 0.4 * len(given.onnx)
    onnx.checker.check_model(onnx.load_model_from_string(made.onnx))
    np.testing.assert_allclose(answers(made.onnx), answers(given.onnx), atol=error)
    assert made.module is None
    assert made.applied[0].endswith(f"weight tensors of {2**bits} values each")


def test_the_contract_is_kept(tmp_path: Path) -> None:
    check_compression_pass(Cluster(bits=(4, 8, 32)), tmp_path)


def test_onnxruntime_looks_nothing_up_once_the_file_is_open(lab: Lab, tmp_path: Path) -> None:
    import onnxruntime as ort

    made = Cluster(bits=4).apply(model(), {}, lab)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    ort.InferenceSession(made.onnx, options, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert not kinds & {"Gather", "Cast"}


def test_int8_takes_a_clustered_file(lab: Lab) -> None:
    made = Cluster().apply(model(), {}, lab)
    assert made.onnx is not None
    whole = quantize(made.onnx, [IMAGES], reduce_range=True)
    assert any(n.op_type == "QuantizeLinear" for n in onnx.load_model_from_string(whole).graph.node)


@pytest.mark.parametrize("size", [16, 256])
def test_centres_are_as_good_as_those_of_k_means(size: int) -> None:
    values = np.random.default_rng(0).standard_t(5, 2000)  # a few are large, as weights are
    found = codebook(values, size)
    error = float(np.square(values - found[nearest(values, found)]).sum())
    assert error < 1.5 * KMeans(size, n_init=1, random_state=0).fit(values[:, None]).inertia_
    np.testing.assert_array_equal(nearest(values, found), np.abs(values[:, None] - found).argmin(1))


@pytest.mark.parametrize("values", [np.zeros(10), np.array([1.0, 1.0, 2.0, 2.0])])
def test_a_few_different_values_are_kept_exactly(values: np.ndarray) -> None:
    centres = codebook(values, 16)
    np.testing.assert_array_equal(centres[nearest(values, centres)], values)


def test_it_is_a_pass_whose_largest_option_changes_nothing(lab: Lab) -> None:
    made = Cluster(bits=(4, 8, 32))
    given = model()
    assert isinstance(made, CompressionPass)
    assert (made.works_on, made.trains) == ("file", False)
    assert made.choices().choices == (Choice("cluster.bits", (4, 8, 32)),)
    assert Cluster().choices().choices == ()
    assert made.apply(given, {"cluster.bits": 32}, lab) is given
    assert made.apply(given, {"cluster.bits": 8}, lab).onnx == Cluster().apply(given, {}, lab).onnx


@pytest.mark.parametrize("settings", [{"bits": 2}, {"bits": "8"}, {"bits": (8, 4)}])
def test_other_settings_are_a_sentence(settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=r"bits=|block_size="):
        Cluster(**settings)


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_that_are_no_larger_than_their_codebook_stay_as_they_are(lab: Lab, bits: int) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).eval()
    given = Model(as_spec(SHAPE), module, export_onnx(module, SHAPE))
    assert Cluster(bits=bits).apply(given, {}, lab) is given
