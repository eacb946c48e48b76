"""Maps to the widths of another network, which merge into the layers behind them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nas.compression.maps import insert_maps, match_layers, merge_maps
from nas.inputs import InputSpec

CPU = torch.device("cpu")
IMAGES = InputSpec(("images",), ((2, 4, 4),), (torch.float32,))


def network(width: int, groups: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, width, 3, padding=1),
        nn.Conv2d(width, width, 3, padding=1, groups=groups),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 5),
    )


class Twice(nn.Module):
    """Calls its second layer twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, width), nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.second(self.second(self.first(inputs))))
        return outputs


def test_layers_but_the_first_meet_their_counterparts_of_as_many_channels_or_more() -> None:
    assert match_layers(network(4), network(8), IMAGES, CPU) == ["1", "4"]
    assert match_layers(network(4), network(4), IMAGES, CPU) == ["1", "4"]
    assert match_layers(network(8), network(4), IMAGES, CPU) == []


def test_a_convolution_in_groups_and_what_is_called_twice_have_no_counterpart() -> None:
    assert match_layers(network(4, groups=2), network(8), IMAGES, CPU) == ["4"]
    numbers = InputSpec(("numbers",), ((3,),), (torch.float32,))
    assert match_layers(Twice(4), Twice(8), numbers, CPU) == ["last"]


@pytest.mark.parametrize("wide", [4, 8])
def test_maps_change_nothing_until_they_are_trained(wide: int) -> None:
    student, teacher, images = network(4).eval(), network(wide), torch.randn(3, 2, 4, 4)
    before = student(images)
    layers = match_layers(student, teacher, IMAGES, CPU)
    insert_maps(student, teacher, layers)
    assert torch.allclose(student(images), before, atol=1e-6)
    assert student[1].up(torch.randn(1, 4, 4, 4)).shape[1] == wide  # type: ignore[index]


def test_trained_maps_merge_into_layers_of_the_old_shape_that_do_the_same() -> None:
    student, teacher, images = network(4).eval(), network(8), torch.randn(3, 2, 4, 4)
    shapes = {name: tensor.shape for name, tensor in student.state_dict().items()}
    kinds = [type(module) for module in student.modules()]
    layers = match_layers(student, teacher, IMAGES, CPU)
    insert_maps(student, teacher, layers)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    trained = copy.deepcopy(student)(images)
    merge_maps(student, layers)
    assert {name: tensor.shape for name, tensor in student.state_dict().items()} == shapes
    assert [type(module) for module in student.modules()] == kinds
    assert torch.allclose(student(images), trained, atol=1e-5)
