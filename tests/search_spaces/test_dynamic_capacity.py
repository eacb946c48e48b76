from __future__ import annotations

from functools import partial

import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from nas.errors import SpaceError
from nas.evaluation.counts import count_macs
from nas.evaluation.expected import flops_by_item
from nas.evaluation.onnx_export import export_onnx
from nas.inputs import InputSpec
from nas.supernet import Supernet
from nas.tasks import Classification
from nas.testing import check_network
from search_spaces.dynamic_capacity import (
    DynamicCapacity,
    EntropySaliency,
    Head,
    Refinement,
    dynamic_capacity,
)

SHAPE = (1, 24, 24)
POSITIONS, FEATURES, CLASSES = 9, 32, 10


def subnet(**options: int) -> DynamicCapacity:
    """Return the smallest subnet but for some options, in evaluation mode."""
    torch.manual_seed(0)
    supernet = Supernet(dynamic_capacity(CLASSES, side=24, patches=(0, 1, 2, 9)))
    module = supernet.extract(supernet.space.architecture({**supernet.space.smallest(), **options})).eval()
    assert isinstance(module, DynamicCapacity)
    return module


def cluttered(count: int) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_the_contract_is_kept() -> None:
    network = partial(dynamic_capacity, classes=3, side=16, patches=(0, 1, 3))
    check_network(network, InputSpec.of_one((1, 16, 16)), Classification(3), num_random=2)


def test_the_cardinality_is_what_the_docstring_says() -> None:
    assert Supernet(dynamic_capacity(10)).space.cardinality() == 75


def test_saliency_is_the_norm_of_the_gradient_that_torch_derives() -> None:
    generator = torch.Generator().manual_seed(0)
    head = Head(FEATURES, CLASSES, POSITIONS).double()
    nn.init.normal_(head.weight, generator=generator)
    features = 2 * torch.randn(5, POSITIONS, FEATURES, generator=generator, dtype=torch.float64)
    features.requires_grad_()
    torch.distributions.Categorical(logits=head(features)).entropy().sum().backward()
    assert features.grad is not None
    expected = features.grad.norm(dim=2)
    found = EntropySaliency()(features, features, head)
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-12)
    assert (expected.std(1) > 0.1 * expected.mean(1)).all(), (
        "positions differ, so that their order is tested too"
    )


@pytest.mark.parametrize("logit", [0.0, 200.0])
def test_saliency_is_finite_where_a_prediction_is_certain_or_says_nothing(logit: float) -> None:
    head = Head(FEATURES, CLASSES, POSITIONS)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    nn.init.constant_(head.weight[0], logit)
    found = EntropySaliency()(torch.ones(1, POSITIONS, FEATURES), torch.ones(1), head)
    assert torch.equal(found, torch.zeros(1, POSITIONS))


def test_a_patch_shows_a_cell_and_a_margin_around_it() -> None:
    refine = Refinement(24, FEATURES, 9, 0.0).eval()
    refine.fine = nn.Identity()
    image = torch.arange(24.0 * 24).view(1, 1, 24, 24)
    patches = refine(torch.zeros(1, POSITIONS, 144), image, Head(144, CLASSES, POSITIONS)).view(3, 3, 12, 12)
    assert torch.equal(patches[1, 1], image[0, 0, 6:18, 6:18])
    assert torch.equal(patches[0, 2, 2:, :10], image[0, 0, :10, 14:])
    assert not patches[0, 2, :2].any(), "beyond the image there is nothing"


@pytest.mark.parametrize("count", [1, 2])
def test_the_most_salient_positions_alone_are_refined(count: int) -> None:
    refine = subnet(patches=count).refine
    features = torch.randn(4, POSITIONS, FEATURES, generator=torch.Generator().manual_seed(1))
    head = Head(FEATURES, CLASSES, POSITIONS)
    refined = refine(features, cluttered(4), head)
    salient = EntropySaliency()(features, features, head).topk(count).indices
    changed = (refined != features).all(2)
    assert torch.equal(changed, torch.zeros(4, POSITIONS, dtype=torch.bool).scatter(1, salient, True))
    assert torch.equal((refined != features).any(2), changed)


def test_where_every_position_is_refined_coarse_features_say_nothing() -> None:
    network = subnet(patches=9)
    before = network(cluttered(4))
    nn.init.normal_(network.coarse[3].weight)
    assert torch.equal(network(cluttered(4)), before)


def test_what_is_counted_is_k_patches_and_not_all() -> None:
    of_patch = 144 * 32 + 32 * FEATURES
    of_saliency = 2 * FEATURES * CLASSES  # a coarse prediction, and the gradient of its entropy
    alone = count_macs(subnet(patches=0), SHAPE)
    for patches in (1, 2, 9):
        assert count_macs(subnet(patches=patches), SHAPE) == alone + of_saliency + patches * of_patch
        found = flops_by_item(export_onnx(subnet(patches=patches), SHAPE), cluttered(2))
        assert found.tolist() == [2 * (alone + of_saliency + patches * of_patch)] * 2


@pytest.mark.parametrize("patches", [0, 1, 2, 9])
def test_the_exported_file_says_the_same(patches: int) -> None:
    network, images = subnet(patches=patches), cluttered(40)
    with torch.no_grad():
        expected = network(images)
    (found,) = ort.InferenceSession(export_onnx(network, SHAPE)).run(None, {"images": images.numpy()})
    assert torch.allclose(torch.from_numpy(found), expected, atol=1e-4)


def test_training_leaves_some_items_unrefined() -> None:
    network = subnet(patches=9).train()
    images = cluttered(1).expand(400, *SHAPE)
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        outputs = network(images)
    coarse, refined = (
        network.head(network.coarse(images[:1]).flatten(2).transpose(1, 2)),
        network.eval()(images[:1]),
    )
    is_coarse, is_refined = (torch.isclose(outputs, one, atol=1e-5).all(1) for one in (coarse, refined))
    assert (is_coarse ^ is_refined).all()
    assert is_coarse.double().mean().item() == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patches": (0, 10)}, r"patches=\(0, 10\): integers from 0 to 9, the number of positions"),
        ({"patches": (-1, 2)}, "integers from 0 to 9"),
        ({"patches": (1, 2.5)}, "integers from 0 to 9"),
        ({"side": 20}, "side=20: a multiple of 8 pixels is expected"),
        ({"side": 0}, "side=0"),
    ],
)
def test_what_is_impossible_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        dynamic_capacity(**{"classes": 10, "side": 24, **arguments})  # type: ignore[arg-type]


def test_the_export_raises_no_doubt_that_would_be_settled_by_patches_that_matter_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked: list[str] = []
    monkeypatch.setattr("nas.evaluation.onnx_export._check_answers", lambda *given: checked.append(given[-1]))
    supernet = Supernet(dynamic_capacity(CLASSES))
    export_onnx(supernet.extract(supernet.space.largest()).eval(), (1, 32, 32))
    assert checked == []
