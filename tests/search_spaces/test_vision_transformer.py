from __future__ import annotations

from functools import partial

import pytest
import torch

from nas.errors import ShapeError, SpaceError
from nas.evaluation.onnx_export import export_onnx
from nas.supernet import Supernet
from nas.tasks import Classification
from nas.testing import check_network
from search_spaces.vision_transformer import vision_transformer


def test_the_contract_is_kept() -> None:
    make = partial(vision_transformer, classes=5, channels=1, resolution=8, scale=0.5)
    check_network(make, (1, 8, 8), Classification(5), num_random=2)


def test_the_cardinality_is_what_the_docstring_says() -> None:
    found = Supernet(vision_transformer(classes=10)).space.cardinality()
    assert found == 1_298_965_248


def test_a_larger_image_than_it_was_made_for_is_told() -> None:
    with pytest.raises(ShapeError):
        Supernet(vision_transformer(classes=10, resolution=16)).check_shapes(
            (3, 32, 32), Classification(10), torch.zeros(1, dtype=torch.int64)
        )


@pytest.mark.parametrize("resolution", [2, 30])
def test_patches_that_do_not_fill_the_image_are_told(resolution: int) -> None:
    with pytest.raises(SpaceError, match=str(resolution)):
        vision_transformer(classes=10, resolution=resolution)


def test_the_fast_exporter_takes_a_subnet(caplog: pytest.LogCaptureFixture) -> None:
    supernet = Supernet(vision_transformer(classes=5, channels=1, resolution=8, scale=0.5)).eval()
    assert export_onnx(supernet.extract(supernet.space.smallest()), (1, 8, 8))
    assert "exporter failed" not in caplog.text


def test_more_heads_use_the_weights_of_fewer() -> None:
    supernet = Supernet(vision_transformer(classes=5, channels=1, resolution=8)).eval()
    space = supernet.space
    small = {c.name: c.options[0] for c in space.choices}
    few = supernet.extract(space.architecture(small)).state_dict()
    many = supernet.extract(space.architecture({**small, "block0.heads": 6})).state_dict()
    name = "2.0.queries.weight"
    assert many[name].shape[0] == 3 * few[name].shape[0]
    assert torch.equal(many[name][: few[name].shape[0]], few[name])
