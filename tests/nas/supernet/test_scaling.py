"""Compound scaling of one architecture."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from nas.errors import SpaceError, StudyError
from nas.supernet import Supernet
from nas.supernet.scaling import Factors, Growth, ScaledNetwork, Scaling, scale_depth, scale_width
from search_spaces.convnet import convnet

SCALING = Scaling(width=("*.width",), depth={"stage*.extra_depth": 1}, divisor=4)
NETWORK = partial(convnet, classes=10, channels=1, resolution=8)


@pytest.mark.parametrize(
    ("width", "factor", "divisor", "expected"),
    [
        (32, 1.0, 8, 32),
        (12, 1.0, 8, 12),  # as it is
        (32, 1.1, 8, 32),  # 35.2; 32 is more than nine tenths
        (24, 1.1, 8, 24),
        (16, 1.2, 8, 24),  # 19.2, and 16 would be 0.83 of it
        (4, 1.1, 8, 8),
        (40, 1.4, 8, 56),
    ],
)
def test_widths_are_multiples_and_never_below_nine_tenths(
    width: int, factor: float, divisor: int, expected: int
) -> None:
    assert scale_width(width, factor, divisor) == expected


@pytest.mark.parametrize(
    ("chosen", "besides", "factor", "expected"),
    [(0, 1, 2.0, 1), (2, 1, 1.0, 2), (2, 1, 1.26, 3), (3, 0, 0.1, 0)],
)
def test_depth_counts_the_blocks_that_are_always_there(
    chosen: int, besides: int, factor: float, expected: int
) -> None:
    assert scale_depth(chosen, besides, factor) == expected


def grown(options: dict[str, object], factors: Factors) -> nn.Module:
    supernet = Supernet(ScaledNetwork(NETWORK, Growth(options, SCALING, factors))())  # type: ignore[arg-type]
    assert supernet.space.cardinality() == 1
    return supernet.extract(supernet.space.smallest())


def active_options(which: str) -> dict[str, object]:
    space = Supernet(NETWORK()).space
    architecture = getattr(space, which)()
    active = space.active(space.indices([architecture]))[0]
    return {c.name: architecture[c.name] for c, is_on in zip(space.choices, active, strict=True) if is_on}


class SeesSize(nn.Module):
    """Tells height and width of what it is given."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.tensor(images.shape[-2:])


def test_a_network_for_larger_images_enlarges_them_itself() -> None:
    grown = ScaledNetwork(SeesSize, Growth({}, Scaling(), Factors(resolution=1.5)))()
    assert grown(torch.zeros(2, 3, 8, 12)).tolist() == [12, 18]
    same = ScaledNetwork(SeesSize, Growth({}, Scaling(), Factors()))()
    assert same(torch.zeros(2, 3, 8, 12)).tolist() == [8, 12]


@pytest.mark.parametrize("which", ["smallest", "largest"])
def test_factors_of_one_give_the_architecture_itself(which: str) -> None:
    supernet = Supernet(NETWORK())
    expected = supernet.extract(getattr(supernet.space, which)()).state_dict()
    found = grown(active_options(which), Factors()).state_dict()
    assert {name: tensor.shape for name, tensor in found.items()} == {n: t.shape for n, t in expected.items()}


def test_blocks_beyond_the_space_take_the_options_of_the_nearest_block() -> None:
    options = active_options("largest")
    module = grown(options, Factors(depth=2.0))  # three blocks become six
    kernels = [m.kernel_size for m in module.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert kernels == [(5, 5)] * 18
    assert module.eval()(torch.zeros(2, 1, 12, 12)).shape == (2, 10)


def test_a_choice_outside_of_scaling_can_not_be_rebuilt_from_nothing() -> None:
    options = {**active_options("smallest"), "stem.width": "wide"}
    with pytest.raises(SpaceError, match="can't be scaled"):
        grown(options, Factors(width=2.0))


@pytest.mark.parametrize("wrong", [{"divisor": 0}, {"depth": {"*": -1}}, {"width": "*.width"}])
def test_unusable_scaling_is_told(wrong: dict[str, object]) -> None:
    with pytest.raises(StudyError, match="Scaling"):
        Scaling(**wrong)  # type: ignore[arg-type]
