from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import onnxruntime as ort
import pytest
import torch

from nas.evaluation.onnx_export import export_onnx
from nas.supernet import Supernet
from nas.tasks import SemanticSegmentation
from nas.testing import check_network
from search_spaces.deeplabv3plus import _STAGES, Backbone, deeplabv3plus


@pytest.mark.parametrize("backbone", ["mobilenet", "xception"])
def test_the_contract_is_kept(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """With few stages, the last one dilated where there are three: every block and option costs time here."""
    first, second, *_, last = _STAGES[backbone]
    last = replace(last, extra_depths=(0, 1))
    monkeypatch.setitem(
        _STAGES, backbone, (first, second, last) if backbone == "mobilenet" else (first, last)
    )
    make = partial(deeplabv3plus, classes=5, resolution=64, backbone=backbone, scale=0.125)
    targets = torch.zeros(1, 64, 72, dtype=torch.int64)
    check_network(make, (3, 64, 72), SemanticSegmentation(5), targets, num_random=1)


@pytest.mark.parametrize(
    ("height", "width", "backbone"),
    [(64, 64, "xception"), (120, 160, "mobilenet"), (257, 301, "xception"), (513, 513, "mobilenet")],
)
def test_the_output_is_as_large_as_images_of_64_to_513_pixels(
    height: int, width: int, backbone: Backbone
) -> None:
    rng = np.random.default_rng(0)
    with torch.device("meta"):
        supernet = Supernet(deeplabv3plus(7, resolution=min(height, width), backbone=backbone)).eval()
        images = torch.empty(2, 3, height, width)
        space = supernet.space
        for architecture in (space.smallest(), space.largest(), space.sample(rng)):
            with supernet.active(architecture):
                assert supernet(images).shape == (2, 7, height, width)


@pytest.mark.parametrize(
    ("backbone", "resolution", "cardinality"),
    [
        ("mobilenet", 64, 2.5e16),
        ("mobilenet", 256, 2.2e18),
        ("xception", 64, 1.4e8),
        ("xception", 256, 6.9e10),
    ],
)
def test_the_cardinality_is_what_the_docstring_says(
    backbone: Backbone, resolution: int, cardinality: float
) -> None:
    with torch.device("meta"):
        found = Supernet(deeplabv3plus(5, resolution=resolution, backbone=backbone)).space.cardinality()
    assert abs(found - cardinality) <= 0.05 * cardinality


@pytest.mark.parametrize("backbone", ["mobilenet", "xception"])
def test_onnx_runtime_computes_the_same_and_the_fast_exporter_is_enough(
    backbone: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    supernet = Supernet(deeplabv3plus(5, resolution=64, backbone=backbone, scale=0.25)).eval()
    module, images = supernet.extract(supernet.space.smallest()), torch.randn(3, 3, 64, 80)
    session = ort.InferenceSession(export_onnx(module, (3, 64, 80)))
    assert not caplog.records
    found = session.run(None, {"images": images.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), module(images))
