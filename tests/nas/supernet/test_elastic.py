from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.choices import Size, choice
from nas.errors import SpaceError
from nas.supernet import Supernet, elastic
from nas.supernet.elastic import ElasticLayer


@pytest.mark.parametrize(
    ("layer", "plain"),
    [
        (lambda: elastic.Conv2d(3, 8, 3, padding="same"), lambda: nn.Conv2d(3, 8, 3, padding=1)),
        (
            lambda: elastic.Conv2d(4, 8, 5, stride=2, padding=1),
            lambda: nn.Conv2d(4, 8, 5, stride=2, padding=1),
        ),
        (
            lambda: elastic.Conv2d(4, 8, 3, groups=4, bias=False),
            lambda: nn.Conv2d(4, 8, 3, groups=4, bias=False),
        ),
        (
            lambda: elastic.Conv2d(4, 8, 3, dilation=2, padding="same"),
            lambda: nn.Conv2d(4, 8, 3, dilation=2, padding=2),
        ),
        (lambda: elastic.Linear(5, 7), lambda: nn.Linear(5, 7)),
        (lambda: elastic.BatchNorm1d(6), lambda: nn.BatchNorm1d(6)),
        (lambda: elastic.BatchNorm2d(6), lambda: nn.BatchNorm2d(6)),
    ],
)
def test_without_choices_a_layer_is_torchs(layer: object, plain: object) -> None:
    """Same parameter shapes and, from one seed, the same numbers."""
    torch.manual_seed(0)
    ours = layer().state_dict()  # type: ignore[operator]
    torch.manual_seed(0)
    theirs = plain().state_dict()  # type: ignore[operator]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def extracted_with(layer: nn.Module, **options: int) -> tuple[Supernet, nn.Module]:
    supernet = Supernet(nn.Sequential(layer))
    plain = supernet.extract(supernet.space.architecture(options))
    assert isinstance(plain, nn.Sequential)
    return supernet, plain[0]


def test_a_narrow_convolution_is_the_leading_slice_and_the_centre() -> None:
    layer = elastic.Conv2d(choice("i", 2, 4), choice("o", 3, 6), choice("k", 1, 3, 5), padding="same")
    _, plain = extracted_with(layer, i=2, o=3, k=3)
    assert isinstance(plain, nn.Conv2d)
    assert torch.equal(plain.weight, layer.weight[:3, :2, 1:4, 1:4])
    assert plain.bias is not None
    assert layer.bias is not None
    assert torch.equal(plain.bias, layer.bias[:3])
    assert plain.padding == (1, 1)


@pytest.mark.parametrize("rate", [1, 2, 5])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_dilated_convolution_sees_pixels_that_far_apart(kernel: int, rate: int) -> None:
    layer = elastic.Conv2d(2, 3, choice("k", 1, 3), padding="same", dilation=choice("d", 1, 2, 5))
    supernet, plain = extracted_with(layer, k=kernel, d=rate)
    images = torch.randn(1, 2, 12, 9)
    expected = nn.functional.conv2d(
        images,
        layer.weight[:, :, 1:2, 1:2] if kernel == 1 else layer.weight,
        layer.bias,
        padding=rate * (kernel // 2),
        dilation=rate,
    )
    with supernet.active(supernet.space.architecture({"k": kernel, "d": rate})):
        torch.testing.assert_close(supernet(images), expected)
    assert torch.equal(plain(images), expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_padding_same_keeps_the_output_size_for_every_kernel(kernel: int, stride: int) -> None:
    layer = elastic.Conv2d(1, 1, choice("k", 1, 3, 5, 7), stride=stride, padding="same")
    supernet, _ = extracted_with(layer, k=7)
    with supernet.active(supernet.space.architecture({"k": kernel})):
        assert supernet(torch.zeros(1, 1, 9, 9)).shape[2:] == ((9, 9) if stride == 1 else (5, 5))


@pytest.mark.parametrize("width", [4, 8, 12])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_grouped_convolution_with_elastic_groups(width: int, groups: int) -> None:
    inputs, count = choice("w", 4, 8, 12), choice("g", 1, 2, 4)
    supernet = Supernet(
        nn.Sequential(elastic.Conv2d(3, inputs, 1), elastic.Conv2d(inputs, inputs, 3, groups=count))
    )
    architecture = supernet.space.architecture({"w": width, "g": groups})
    plain = supernet.extract(architecture)
    images = torch.randn(2, 3, 8, 8)
    with supernet.active(architecture):
        assert torch.equal(supernet(images), plain(images))
    assert plain[1].groups == groups  # type: ignore[index]
    assert plain[1].weight.shape == (width, width // groups, 3, 3)  # type: ignore[index]


def test_a_depthwise_convolution_has_as_many_groups_as_channels() -> None:
    width = choice("w", 2, 6)
    layer = elastic.Conv2d(width, width, 3, groups=width)
    assert layer.weight.shape == (6, 1, 3, 3)
    _, plain = extracted_with(layer, w=2)
    assert plain.weight.shape == (2, 1, 3, 3)


def test_channels_that_no_group_divides_are_refused_with_the_options() -> None:
    with pytest.raises(SpaceError, match=r"6 channels \(choice 'w'\) and 4 groups \(choice 'g'\)"):
        elastic.Conv2d(choice("w", 4, 6), 8, 3, groups=choice("g", 1, 4))


@pytest.mark.parametrize("size", [0, -1, choice("w", 0, 4), choice("w", 2.5, 4), choice("w", "a"), True])
def test_a_size_that_is_no_positive_integer_is_refused(size: Size) -> None:
    makers = (
        lambda: elastic.Conv2d(size, 4, 3),
        lambda: elastic.Conv2d(4, size, 3),
        lambda: elastic.Conv2d(4, 4, size),
        lambda: elastic.Conv2d(4, 4, 3, groups=size),
        lambda: elastic.Conv2d(4, 4, 3, dilation=size),
        lambda: elastic.Linear(size, 4),
        lambda: elastic.Linear(4, size),
        lambda: elastic.BatchNorm2d(size),
    )
    for make in makers:
        with pytest.raises(SpaceError, match="positive integer"):
            make()


@pytest.mark.parametrize("times", [-1, 1.5, True, choice("d", -1, 2), choice("d", 1, "2"), choice("d", True)])
def test_a_repeat_runs_a_whole_number_of_times(times: object) -> None:
    with pytest.raises(SpaceError, match="Repeat can't run"):
        elastic.Repeat(lambda _: nn.Identity(), times=times)  # type: ignore[arg-type]


def test_a_repeat_makes_each_block_once_and_runs_the_first_ones() -> None:
    made: list[int] = []

    class Add(nn.Module):
        def __init__(self, position: int) -> None:
            super().__init__()
            made.append(position)
            self.amount = 10**position

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs + self.amount

    supernet = Supernet(nn.Sequential(elastic.Repeat(Add, times=choice("depth", 0, 1, 3))))
    assert made == [0, 1, 2]
    for depth, total in ((0, 0), (1, 1), (3, 111)):
        architecture = supernet.space.architecture({"depth": depth})
        with supernet.active(architecture):
            assert supernet(torch.zeros(1)).item() == total
        assert supernet.extract(architecture)(torch.zeros(1)).item() == total


@pytest.mark.parametrize(
    ("elastic_norm", "plain", "shape"),
    [
        (elastic.BatchNorm2d, nn.BatchNorm2d, (16, 2, 3, 3)),
        (elastic.BatchNorm1d, nn.BatchNorm1d, (16, 2)),
    ],
)
def test_batch_norm_trains_the_active_channels_statistics_alone(
    elastic_norm: type[elastic.BatchNorm], plain: type[nn.Module], shape: tuple[int, ...]
) -> None:
    layer = elastic_norm(choice("w", 2, 4))
    supernet = Supernet(nn.Sequential(layer)).train()
    images = 5 + torch.randn(shape)
    with supernet.active(supernet.space.smallest()):
        output = supernet(images)
        assert type(layer.extract()) is plain
    reference = plain(2).train()  # type: ignore[call-arg]
    assert torch.equal(output, reference(images))
    assert torch.equal(layer.running_mean[:2], reference.running_mean)  # type: ignore[arg-type]
    assert torch.equal(layer.running_var[:2], reference.running_var)  # type: ignore[arg-type]
    assert layer.running_mean[2:].tolist() == [0, 0]
    assert layer.running_var[2:].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (
            lambda: elastic.Conv2d(choice("a", 2, 4), choice("b", 4, 8), choice("k", 1, 3)),
            {"a": 2, "b": 4, "k": 1},
        ),
        (lambda: elastic.Conv2d(4, choice("b", 4, 8), 3, groups=2, bias=False), {"b": 4}),
        (lambda: elastic.Linear(choice("a", 2, 4), 3, bias=False), {"a": 2}),
        (lambda: elastic.Linear(4, choice("b", 1, 3)), {"b": 1}),
        (lambda: elastic.BatchNorm2d(choice("a", 2, 4)), {"a": 2}),
    ],
)
def test_active_parameters_are_those_of_the_extracted_layer(make: object, options: dict[str, int]) -> None:
    layer = make()  # type: ignore[operator]
    supernet, plain = extracted_with(layer, **options)
    assert isinstance(layer, ElasticLayer)
    with supernet.active(supernet.space.architecture(options)):
        assert layer.num_active_params() == sum(p.numel() for p in plain.parameters())
