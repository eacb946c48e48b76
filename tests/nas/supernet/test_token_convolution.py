from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nas import choice
from nas.errors import SpaceError
from nas.evaluation.counts import count_macs, count_params
from nas.supernet import Supernet
from nas.supernet.token_convolution import TokenConvolution

WIDTH, KERNEL = choice("width", 4, 6), choice("kernel", 3, 5)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("depthwise", [False, True])
def test_it_is_torch_s_convolution_with_the_first_features_and_the_middle_of_the_kernel(
    depthwise: bool, kernel: int
) -> None:
    torch.manual_seed(0)
    layer = TokenConvolution(WIDTH, None if depthwise else 3, KERNEL)
    supernet = Supernet(nn.Sequential(layer))
    start = (5 - kernel) // 2
    rows, columns = (4, 1) if depthwise else (3, 4)
    weight = layer.weight[:rows, :columns, start : start + kernel]
    tokens = torch.randn(2, 7, 4)
    groups = 4 if depthwise else 1
    expected = F.conv1d(tokens.transpose(1, 2), weight, layer.bias[:rows], padding="same", groups=groups)
    architecture = supernet.space.architecture({"width": 4, "kernel": kernel})
    with supernet.active(architecture):
        assert torch.equal(supernet(tokens), expected.transpose(1, 2))
        macs, num_params = layer.macs_per_position(), layer.num_active_params()
    plain = supernet.extract(architecture)
    assert torch.equal(plain(tokens), expected.transpose(1, 2))
    assert (count_macs(plain, (7, 4)), count_params(plain)) == (7 * macs, num_params)


def test_an_even_kernel_is_a_sentence() -> None:
    with pytest.raises(SpaceError, match="an odd number is expected"):
        TokenConvolution(4, 4, choice("kernel", 3, 4))
