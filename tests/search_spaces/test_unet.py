from __future__ import annotations

from functools import partial

import onnxruntime as ort
import pytest
import torch

from nas.evaluation.onnx_export import export_onnx
from nas.supernet import Supernet
from nas.tasks import SemanticSegmentation
from nas.testing import check_network
from search_spaces.unet import unet


def test_the_contract_is_kept() -> None:
    targets = torch.zeros(1, 64, 73, dtype=torch.int64)
    make = partial(unet, 5, scale=0.0625)
    check_network(make, (3, 64, 73), SemanticSegmentation(5), targets, num_random=1)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (120, 161), (513, 257)])
def test_the_output_is_as_large_as_images_of_64_to_513_pixels(height: int, width: int) -> None:
    with torch.device("meta"):
        supernet = Supernet(unet(7)).eval()
        images = torch.empty(2, 3, height, width)
        space = supernet.space
        for architecture in (space.smallest(), space.largest(), {**space.largest(), "levels": 3}):
            with supernet.active(space.architecture(architecture)):
                assert supernet(images).shape == (2, 7, height, width)


@pytest.mark.parametrize("scale", [0.25, 1.0])
def test_the_cardinality_is_what_the_docstring_says(scale: float) -> None:
    with torch.device("meta"):
        assert Supernet(unet(5, scale=scale)).space.cardinality() == 147_024


def test_onnx_runtime_computes_the_same_and_the_fast_exporter_is_enough(
    caplog: pytest.LogCaptureFixture,
) -> None:
    torch.manual_seed(0)
    supernet = Supernet(unet(5, scale=0.0625)).eval()
    module, images = supernet.extract(supernet.space.largest()), torch.randn(3, 3, 64, 81)
    session = ort.InferenceSession(export_onnx(module, (3, 64, 81)))
    assert not caplog.records
    found = session.run(None, {"images": images.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), module(images))
