from __future__ import annotations

from functools import partial

import onnxruntime as ort
import pytest
import torch
from torch import nn

from nas.data import Digits
from nas.evaluation.expected import flops_by_item
from nas.evaluation.onnx_export import export_onnx
from nas.inputs import InputSpec
from nas.splits import Splits
from nas.supernet import Supernet
from nas.tasks import Classification
from nas.testing import check_network
from search_spaces.surprisal_gated import SurprisalGate, SurprisalGated, surprisal_gated


@pytest.fixture(scope="module")
def digits() -> Splits:
    return Digits().load()


def fitted(splits: Splits, percent: int = 50) -> SurprisalGate:
    gate = SurprisalGate(8, 8, percent)
    gate.fit(splits.train.batch(slice(None)))
    return gate


def subnet(splits: Splits, percent: int) -> nn.Module:
    """Return the smallest subnet with a share."""
    torch.manual_seed(0)
    network = surprisal_gated(10)
    assert isinstance(network, SurprisalGated)
    network.gate.fit(splits.train.batch(slice(None)))
    supernet = Supernet(network)
    options = {**supernet.space.smallest(), "large_percent": percent}
    return supernet.extract(supernet.space.architecture(options)).eval()


def test_the_contract_is_kept() -> None:
    network = partial(surprisal_gated, classes=3, rows=6, columns=5)
    check_network(network, InputSpec.of_one((1, 6, 5)), Classification(3), num_random=2)


def test_the_cardinality_is_what_the_docstring_says() -> None:
    assert Supernet(surprisal_gated(10)).space.cardinality() == 630


def test_a_row_is_predicted_from_those_above_it_alone(digits: Splits) -> None:
    gate, images = fitted(digits), digits.search.batch(slice(0, 20))
    changed = images.clone()
    changed[:, :, 4] += 1
    before, after = gate.surprisal(images), gate.surprisal(changed)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_prediction_is_better_than_the_mean_on_images_that_it_has_not_seen(digits: Splits) -> None:
    images = digits.search.batch(slice(None))
    by_mean = (images - digits.train.batch(slice(None)).mean(0)).square().sum(3).squeeze(1)
    errors = fitted(digits).surprisal(images)
    assert errors[:, 0].mean() == pytest.approx(by_mean[:, 0].mean().item(), rel=1e-4)  # nothing is above it
    assert errors[:, 1:].mean() < 0.65 * by_mean[:, 1:].mean()


def test_thresholds_are_those_of_images_left_out_one_by_one() -> None:
    images = torch.randn(12, 1, 3, 2, generator=torch.Generator().manual_seed(0))
    gate = SurprisalGate(3, 2, 50)
    gate.fit(images)
    left_out = []
    for row in range(12):
        others = SurprisalGate(3, 2, 50)
        others.fit(torch.cat([images[:row], images[row + 1 :]]))
        left_out.append(others.surprisal(images[row : row + 1]))
    assert gate.thresholds[50].item() == pytest.approx(torch.cat(left_out).median().item(), rel=0.1)
    assert torch.allclose(
        gate.thresholds[1:100], torch.cat(left_out).flatten().quantile(torch.arange(1, 100) / 100), rtol=1e-3
    )


def test_shares_hold_for_noise_without_a_fit() -> None:
    images = torch.randn(500, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    shares = [SurprisalGate(6, 5, percent)(images).double().mean().item() for percent in (0, 25, 50, 75, 100)]
    assert shares == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.02)


@pytest.mark.parametrize("percent", [0, 25, 50, 75, 100])
def test_shares_hold_for_other_images(percent: int, digits: Splits) -> None:
    share = fitted(digits, percent)(digits.search.batch(slice(None))).double().mean().item()
    assert share == pytest.approx(percent / 100, abs=0.03 if 0 < percent < 100 else 0)


def test_the_exported_file_says_the_same_and_computes_what_rows_need(digits: Splits) -> None:
    images = digits.search.batch(slice(0, 40))
    costs = {}
    for percent in (0, 50, 100):
        network = subnet(digits, percent)
        model = export_onnx(network, (1, 8, 8))
        with torch.no_grad():
            expected = network(images)
        found = ort.InferenceSession(model).run(None, {"images": images.numpy()})[0]
        assert torch.allclose(torch.from_numpy(found), expected, atol=1e-4)
        costs[percent] = flops_by_item(model, images)
    small, large = 2 * 16 * 16, 2 * 2 * 16 * 32
    assert (costs[0] == costs[0][0]).all()
    assert (costs[100] - costs[0]).tolist() == [8 * (large - small)] * 40
    network = subnet(digits, 50)
    counts = network.gate(images).sum(1).double().numpy()  # type: ignore[operator]
    assert (costs[50] - costs[0]).tolist() == (counts * (large - small)).tolist()
    assert len(set(counts.tolist())) > 2
