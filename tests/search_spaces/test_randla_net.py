from __future__ import annotations

import logging
from functools import partial

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor

from nas.errors import SpaceError
from nas.evaluation.onnx_export import export_onnx
from nas.supernet import Supernet, recalibrate
from nas.tasks import SemanticSegmentation
from nas.testing import check_network
from search_spaces.neighbours import nearest_one
from search_spaces.randla_net import randla_net

small = partial(randla_net, classes=3, features=1, points=64, stages=2, first_width=8, width=16, neighbours=8)


def on_a_grid(count: int, seed: int = 0) -> Tensor:
    """Return clouds on whole numbers, in which many points are equally far and some lie in one place."""
    generator = torch.Generator().manual_seed(seed)
    clouds = torch.randint(0, 5, (count, 64, 3), generator=generator).float()
    return torch.cat((clouds, torch.randn(count, 64, 1, generator=generator)), 2)


def test_the_cardinality_is_what_the_docstring_says() -> None:
    cardinality = Supernet(randla_net(classes=5)).space.cardinality()
    # Points, stem and head; width, aggregations, neighbours and decimation of a stage; one decoder more than stages.
    by_hand = 5 * 3 * 4 * 4 * sum((7 * 2 * 6 * 3) ** stages * 7 ** (stages + 1) for stages in (2, 3, 4))
    assert cardinality == by_hand == 16_276_082_154_958_080


def test_sampling_changes_no_weights_shape() -> None:
    space = Supernet(small()).space
    sampling = [
        c.name for c in space.choices if c.name == "points" or c.name.endswith(("neighbours", "decimation"))
    ]
    assert len(sampling) == 5
    supernet = Supernet(small())
    shapes = [p.shape for p in supernet.extract(space.largest()).parameters()]
    smallest = {c.name: c.options[0] for c in space.choices if c.name in sampling}
    assert [
        p.shape for p in supernet.extract(space.architecture({**space.largest(), **smallest})).parameters()
    ] == shapes


def test_the_contract_is_kept() -> None:
    targets = torch.zeros(1, 64, dtype=torch.int64)
    check_network(
        partial(small, first_width=4, width=4), (64, 4), SemanticSegmentation(3), targets, num_random=0
    )


def test_the_exported_file_answers_the_same_where_points_are_equally_far(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    supernet = Supernet(small()).eval()
    clouds = on_a_grid(3)
    space = supernet.space
    for architecture in (space.largest(), space.smallest(), space.sample(np.random.default_rng(0))):
        plain = supernet.extract(architecture)
        recalibrate(plain, [clouds])
        session = ort.InferenceSession(export_onnx(plain, (64, 4)), providers=["CPUExecutionProvider"])
        for some in (clouds[:1], clouds):
            found = session.run(None, {session.get_inputs()[0].name: some.numpy()})[0]
            assert found.shape == (len(some), 3, 64)
            np.testing.assert_allclose(found, plain(some).detach().numpy(), atol=1e-5)
    assert not caplog.records


def test_the_answer_follows_a_point_that_is_left_out() -> None:
    supernet = Supernet(small()).eval()
    space = supernet.space
    clouds = on_a_grid(2)
    clouds[:, 40, :3] = clouds[:, 7, :3] + 1e-3
    with torch.no_grad(), supernet.active(space.architecture({**space.largest(), "points": 32})):
        output = supernet(clouds)
    first = nearest_one(clouds[:1, 40:41, :3], clouds[:1, :32, :3], 32)
    assert torch.equal(output[0, :, 40], output[0, :, first.item()])  # type: ignore[call-overload]


def test_clouds_of_a_batch_do_not_see_each_other() -> None:
    supernet = Supernet(small()).eval()
    clouds = torch.randn(4, 64, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = supernet(clouds)
        alone = torch.cat([supernet(cloud[None]) for cloud in clouds])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"points": 20}, "too small for 16 neighbours"),
        ({"points": 64}, "have 0 left after 4 stages"),
        ({"neighbours": 3}, "neighbours=3: at least 1 and 4"),
        ({"stages": 0}, "stages=0 and"),
    ],
)
def test_clouds_that_are_too_small_are_told(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(SpaceError, match=told):
        randla_net(classes=3, **arguments)  # type: ignore[arg-type]
