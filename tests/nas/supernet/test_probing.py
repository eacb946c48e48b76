from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fakes import tiny_network
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from nas.choices import choice
from nas.errors import ShapeError
from nas.evaluation import NetworkCounter
from nas.inputs import InputSpec
from nas.supernet import Supernet, elastic
from nas.supernet.probing import FlopCounter, probing
from nas.supernet.unfused import avoid_fused_kernels
from nas.tasks import Classification
from search_spaces.convnet import convnet
from search_spaces.resnet import resnet
from search_spaces.text_transformer import text_transformer
from search_spaces.unet import unet


class Turns(nn.Module):
    """Gives its layer another stride than it holds, and changes its output's form in place."""

    def __init__(self) -> None:
        super().__init__()
        self.crop = choice("crop", 6, 8)
        self.first = elastic.Conv2d(3, choice("width", 2, 4), 3, padding=1)
        self.last = elastic.Linear(choice("width", 2, 4), 5)

    def forward(self, images: Tensor) -> Tensor:
        self.first.stride = 2 if self.crop == 6 else 1
        found = self.first(images)
        found.relu_().unsqueeze_(1)
        output: Tensor = self.last(found.squeeze(1).mean((2, 3)))
        return output


class Solves(nn.Module):
    """Fails where its layer gives nothing but zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = elastic.Linear(4, choice("width", 2, 4))

    def forward(self, items: Tensor) -> Tensor:
        output: Tensor = torch.linalg.inv(torch.diag_embed(self.layer(items)))[..., :2, 0]
        return output


class Takes(nn.Module):
    """Refuses one option after a layer."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.width, self.error = choice("width", 2, 4), error
        self.layer = elastic.Linear(4, choice("width", 2, 4))

    def forward(self, items: Tensor) -> Tensor:
        output: Tensor = self.layer(items)
        if self.width == 2:
            raise self.error
        return output


IMAGES = InputSpec.of_one((3, 8, 8))
IDS = InputSpec.of_one((6,), torch.int64)
NETWORKS: list[tuple[Callable[[], nn.Module], InputSpec]] = [
    (lambda: tiny_network(channels=3), IMAGES),
    (lambda: convnet(10, 3, 8), IMAGES),
    (lambda: resnet(10, 3, 8), IMAGES),
    (lambda: unet(4, 3), InputSpec.of_one((3, 16, 16))),
    (lambda: text_transformer(2, 50, 6), IDS),
    (Turns, IMAGES),
]


@pytest.mark.parametrize(("make", "spec"), NETWORKS)
def test_what_is_counted_quickly_is_what_torch_counts(make: Callable[[], nn.Module], spec: InputSpec) -> None:
    supernet = Supernet(make())
    probes = supernet.probes()
    got = supernet.count_macs([*probes, *probes[:2]], spec)
    assert set(got) == {architecture.id for architecture in probes}
    supernet.eval()
    for architecture in probes[:: max(1, len(probes) // 8)]:
        counter = FlopCounterMode(display=False)
        with supernet.active(architecture), torch.no_grad(), avoid_fused_kernels(supernet), counter:
            supernet.module(spec.blank(1))
        assert got[architecture.id] == counter.get_total_flops() // 2, architecture


OPERATIONS: list[Callable[[], object]] = [
    lambda: F.conv2d(torch.zeros(2, 4, 9, 9), torch.zeros(6, 2, 3, 3), groups=2, stride=2),
    lambda: F.conv_transpose2d(torch.zeros(2, 4, 9, 9), torch.zeros(4, 2, 3, 3)),
    lambda: torch.einsum("bij,bkj->bik", torch.zeros(2, 3, 4), torch.zeros(2, 5, 4)),
    lambda: torch.baddbmm(torch.zeros(2, 3, 5), torch.zeros(2, 3, 4), torch.zeros(2, 4, 5)),
    lambda: nn.MultiheadAttention(8, 2)(*[torch.zeros(3, 1, 8)] * 3),
    lambda: torch.cond(torch.tensor(True), lambda x: x @ x @ x, lambda x: x @ x, (torch.zeros(3, 3),)),
    lambda: torch.zeros(3, 4).add_(1).sum(),
]


@pytest.mark.parametrize("inference", [True, False])
@pytest.mark.parametrize("run", OPERATIONS)
def test_operations_count_as_torch_says(run: Callable[[], object], inference: bool) -> None:
    with torch.inference_mode(inference), FlopCounterMode(display=False) as expected:
        run()
    with torch.inference_mode(inference), FlopCounter() as got:
        run()
    assert got.flops == expected.get_total_flops()


def test_layers_give_what_they_are_asked_for_again_afterwards() -> None:
    network = tiny_network()
    images = torch.randn(1, 1, 8, 8)
    supernet = Supernet(network).eval()
    with torch.no_grad():
        before = supernet(images)
        with probing(network):
            assert supernet(images).shape == supernet(images).shape == before.shape
            assert not supernet(images).any()
        assert torch.equal(supernet(images), before)
    assert not [module for module in network.modules() if "forward" in vars(module)]


def test_a_forward_that_was_replaced_stays_so() -> None:
    network = nn.Sequential(elastic.Linear(4, choice("width", 2, 4)))
    network[0].forward = replaced = lambda items: items[:, :3]
    Supernet(network).check_shapes((4,), Classification(3))
    assert network[0].forward is replaced


def test_a_network_that_fails_on_zeros_is_run_as_it_is() -> None:
    torch.manual_seed(0)
    supernet = Supernet(Solves())
    spec = InputSpec.of_one((4,))
    known = supernet.check_shapes(spec, Classification(2))
    assert len(known) < len(supernet.probes())
    counter = NetworkCounter(supernet, spec, known)
    assert counter.tables is not None
    assert counter.counts(supernet.space.indices(supernet.probes())).macs.tolist() == [16, 8, 8]


@pytest.mark.parametrize("error", [ValueError("no room"), SystemExit("no room"), RuntimeError("no room")])
def test_what_a_forward_raises_for_an_option_names_it(error: BaseException) -> None:
    with pytest.raises(
        ShapeError, match=r"choice 'width' is 2 \(with 4 it fits\): module 'layer' says .*no room"
    ):
        Supernet(Takes(error)).check_shapes((4,), Classification(4))


def test_ctrl_c_is_no_fault_of_the_network() -> None:
    with pytest.raises(KeyboardInterrupt):
        Supernet(Takes(KeyboardInterrupt())).check_shapes((4,), Classification(4))


def test_what_check_shapes_counted_is_not_counted_again() -> None:
    supernet = Supernet(tiny_network(channels=3))
    known = supernet.check_shapes((3, 8, 8), Classification(10))
    assert set(known) == {architecture.id for architecture in supernet.probes()}
    wrong = {**known, supernet.probes()[-1].id: 1}
    assert NetworkCounter(supernet, (3, 8, 8), known).tables is not None
    assert (
        NetworkCounter(supernet, (3, 8, 8), wrong).tables is None
    )  # it is what the tables are compared with
