from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from nas.errors import ConversionError
from nas.evaluation import NetworkCounter
from nas.evaluation.counts import count_params
from nas.evaluation.onnx_export import export_onnx
from nas.supernet import Supernet
from nas.supernet.shrinking import choice_roles

IMAGES = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(0))


def resnets_stem() -> nn.Module:
    network = models.resnet18()
    return nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool, *tail(64))


def mobilenets_blocks() -> nn.Module:
    features = models.mobilenet_v3_small().features
    return nn.Sequential(nn.Conv2d(3, 24, 1), features[4], features[5], *tail(40))


def tail(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5)]


def between(kind: type[nn.Module] = nn.Conv2d, **settings: object) -> nn.Module:
    pool = nn.AdaptiveAvgPool1d(1) if kind is nn.Conv1d else nn.AdaptiveAvgPool2d(1)
    layer = kind(3, 16, **settings)
    return nn.Sequential(
        layer, nn.LeakyReLU(0.3), kind(16, 16, 1), nn.GELU(), pool, nn.Flatten(), nn.Linear(16, 5)
    )


KERNELS = {
    "resnet18's stem": (resnets_stem, IMAGES, {"0.kernel": (3, 5, 7)}),
    "mobilenet_v3's depthwise layers": (
        mobilenets_blocks,
        IMAGES,
        {"1.block.1.0.kernel": (3, 5), "2.block.1.0.kernel": (3, 5)},
    ),
    "one axis": (lambda: between(nn.Conv1d, kernel_size=5, padding=2), ROWS, {"0.kernel": (3, 5)}),
    "dilated": (lambda: between(kernel_size=5, dilation=2, padding=4), IMAGES, {"0.kernel": (3, 5)}),
    "same": (lambda: between(kernel_size=7, padding="same"), IMAGES, {"0.kernel": (3, 5, 7)}),
    "circular": (
        lambda: between(kernel_size=5, padding=2, padding_mode="circular"),
        IMAGES,
        {"0.kernel": (3, 5)},
    ),
    "long": (lambda: between(kernel_size=(1, 7), padding=(0, 3)), IMAGES, {"0.kernel": (3, 5, 7)}),
    "little padding": (lambda: between(kernel_size=7, padding=1), IMAGES, {"0.kernel": (5, 7)}),
}


def converted(name: str) -> tuple[nn.Module, Tensor, Supernet]:
    make, example, _ = KERNELS[name]
    model = make().eval()
    return model, example, Supernet.from_module(model, example, kernels=(3, 5), activations=("relu", "silu"))


@pytest.mark.parametrize("name", KERNELS)
def test_the_centre_of_a_kernel_is_used_and_extracted_exactly(name: str) -> None:
    model, example, supernet = converted(name)
    found = {c.name: c.options for c in supernet.space.choices if c.name.endswith("kernel")}
    assert found == KERNELS[name][2]
    assert {choice_roles(supernet)[kernel] for kernel in found} == {"kernel"}
    rng = np.random.default_rng(0)
    with torch.no_grad():
        torch.testing.assert_close(supernet(example), model(example), rtol=1e-5, atol=1e-5)
        for architecture in [supernet.space.smallest(), *(supernet.space.sample(rng) for _ in range(5))]:
            plain = supernet.extract(architecture)
            with supernet.active(architecture):
                assert (supernet(example) - plain(example)).abs().max() <= 1e-5


@pytest.mark.parametrize("name", KERNELS)
def test_what_is_extracted_is_a_layer_of_the_same_settings(name: str) -> None:
    model, example, supernet = converted(name)
    largest, smallest = supernet.space.largest(), supernet.space.smallest()
    plain = supernet.extract({**smallest, **{n: o for n, o in largest.items() if n.endswith(".depth")}})
    for path in (choice.removesuffix(".kernel") for choice in KERNELS[name][2]):
        layer, whole = plain.get_submodule(path), model.get_submodule(path)
        assert type(layer) is type(whole)
        settings = {
            key: getattr(layer, key) for key in ("stride", "dilation", "groups", "padding_mode", "padding")
        }
        again = type(whole)(
            layer.in_channels, layer.out_channels, layer.kernel_size, bias=layer.bias is not None, **settings
        )
        assert vars(again).keys() == vars(layer).keys()
        assert again._reversed_padding_repeated_twice == layer._reversed_padding_repeated_twice
        again.load_state_dict(layer.state_dict())
        shape = (1, layer.in_channels, *example.shape[2:])
        assert torch.equal(again(torch.ones(shape)), layer(torch.ones(shape)))
        assert (
            layer(torch.ones(shape)).shape[2:]
            == whole(torch.ones(1, whole.in_channels, *shape[2:])).shape[2:]
        )


@pytest.mark.parametrize("name", ["resnet18's stem", "mobilenet_v3's depthwise layers", "one axis"])
def test_costs_of_kernels_are_tabulated_exactly(name: str) -> None:
    _, example, supernet = converted(name)
    supernet.eval()
    counter = NetworkCounter(supernet, tuple(example.shape[1:]))
    assert counter.tables is not None
    rows = supernet.space.sample_indices(8, np.random.default_rng(0))
    counts = counter.counts(rows)
    for row, architecture in enumerate(supernet.space.from_indices(rows)):
        plain = supernet.extract(architecture)
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            plain(example[:1])
        assert counts.macs[row] == flops.get_total_flops() // 2
        assert counts.num_params[row] == count_params(plain)


def test_the_centre_of_a_kernel_is_that_of_a_padded_one() -> None:
    model = between(kernel_size=5, padding=2)
    supernet = Supernet.from_module(model, IMAGES, kernels=(3,), ratios=(1.0,))
    with torch.no_grad():
        smaller = supernet.extract(supernet.space.smallest())(IMAGES)
        model[0].weight *= F.pad(torch.ones(3, 3), (1, 1, 1, 1))
        torch.testing.assert_close(smaller, model(IMAGES), rtol=1e-5, atol=1e-6)


class Own(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)


class Elsewhere(nn.Module):
    """Uses the weight of a layer, with a padding that is written out."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 5, padding=2)
        self.last = nn.Linear(16 * 4, 5)

    def forward(self, images: Tensor) -> Tensor:
        self.first(images)
        return self.last(F.conv2d(images[..., :6, :6], self.first.weight, padding=0).relu().flatten(1))


@pytest.mark.parametrize(
    ("model", "path", "said"),
    [
        (between(kernel_size=5), "0", "kernel fixed: none of 3 keeps the size"),
        (between(kernel_size=4, padding=2), "0", "kernel fixed: none of 3 keeps the size"),
        (between(Own, kernel_size=5, padding=2), "0", "a Own has a forward of its own"),
        (
            nn.Sequential(weight_norm(nn.Conv2d(3, 3, 5, padding=2)), between(kernel_size=1)),
            "0",
            "computed anew",
        ),
        (Elsewhere(), "first", "a smaller one"),
        (
            nn.Sequential(nn.ConvTranspose2d(3, 3, 5, padding=2), between(kernel_size=1)),
            "0",
            "a ConvTranspose2d",
        ),
    ],
)
def test_kernels_that_stay_say_why(model: nn.Module, path: str, said: str) -> None:
    supernet = Supernet.from_module(model, IMAGES, kernels=(3,), activations=("relu",), multiple_of=4)
    assert not any(name.endswith(".kernel") for name in supernet.space.largest())
    assert said in str(supernet.report[path])


def test_kept_layers_keep_their_kernels_and_activations() -> None:
    supernet = Supernet.from_module(
        mobilenets_blocks(), IMAGES, kernels=(3,), activations=("relu",), keep=["1"]
    )
    assert "1.block.1.0.kernel" not in supernet.space.largest()
    assert supernet.report["2.block.0.2"].choices == ("hardswish.activation",)
    assert "1.block.0.2" not in [row.path for row in supernet.report.rows]


def test_activations_of_a_kind_are_one_choice_and_extracted_as_torchs() -> None:
    model, _, supernet = converted("dilated")
    options = {c.name: c.options for c in supernet.space.choices if c.name.endswith("activation")}
    assert options == {
        "leaky_relu.activation": ("relu", "silu", "leaky_relu"),
        "gelu.activation": ("relu", "silu", "gelu"),
    }
    assert model[1].negative_slope == supernet.extract(supernet.space.largest())[1].negative_slope
    other = supernet.extract({**supernet.space.largest(), "gelu.activation": "silu"})
    assert [type(other[1]), type(other[3])] == [nn.LeakyReLU, nn.SiLU]


def test_activations_keep_writing_over_their_input() -> None:
    supernet = Supernet.from_module(resnets_stem(), IMAGES, activations=("silu", "gelu"))
    plain = supernet.extract({**supernet.space.largest(), "relu.activation": "silu"})
    assert plain[2].inplace
    plain(IMAGES).sum().backward()


def test_few_choices_are_those_that_change_most() -> None:
    supernet = Supernet.from_module(
        between(kernel_size=5, padding=2), IMAGES, activations=("relu",), max_choices=1
    )
    assert list(supernet.space.largest()) == ["leaky_relu.activation"]


def test_a_network_without_activations_says_so() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Sigmoid(), *tail(16))
    report = Supernet.from_module(model, IMAGES, activations=("relu",)).report
    assert report is not None
    assert "no module that is one of torch's activations" in str(report[""])


def test_smaller_kernels_and_other_activations_are_exported() -> None:
    _, example, supernet = converted("mobilenet_v3's depthwise layers")
    plain = supernet.extract(supernet.space.smallest()).eval()
    session = onnxruntime.InferenceSession(
        export_onnx(plain, (3, 12, 12)), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"images": example.numpy()})
    np.testing.assert_allclose(found, plain(example).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kernels": (0,)}, "kernels is"),
        ({"kernels": 3}, "such as \\(3, 5\\)"),
        ({"activations": "relu"}, "activations is 'relu'"),
        ({"activations": ("swish",)}, "give a list of some of relu"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConversionError, match=said):
        Supernet.from_module(resnets_stem(), IMAGES, **settings)  # type: ignore[arg-type]
