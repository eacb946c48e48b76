"""The model of GAP8 on layers whose cycles are worked out by hand, and on what was published."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.compression.onnx_int8 import quantize
from nas.errors import EvaluationError, StudyError
from nas.evaluation import ModelledGap8Ms, SubnetCandidate
from nas.evaluation.modelled_gap8 import Layer, layer_cycles, model_cycles, plain_cycles
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.onnx_static import static_graph
from nas.objectives import Bench
from nas.splits import Split
from nas.testing import check_measured_objective


def test_a_layer_of_one_tile() -> None:
    layer = Layer(8, 8, in_channels=16, out_channels=16)
    assert layer.macs == 8 * 8 * 16 * 16
    moved = 8 * 8 * 16 + 16 * 16 + 8 * 8 * 16  # input, weights, output: fit twice into L1
    ends = moved / 8 + 3 * 10
    one_tile = layer.macs / 15.5 + ends
    assert layer_cycles(layer) <= one_tile
    assert layer_cycles(layer) >= layer.macs / 15.5


def test_a_linear_layer_is_bound_by_the_moving_of_its_weights() -> None:
    layer = Layer(1, 1, in_channels=1000, out_channels=1000)
    weights_alone = 1000 * 1000 / 8
    assert weights_alone < layer_cycles(layer) < 1.2 * weights_alone
    assert layer_cycles(layer) > layer.macs / 15.5


def test_cores_without_work_wait() -> None:
    few = Layer(1, 4, in_channels=64, out_channels=4)  # four positions and four channels for eight cores
    many = Layer(2, 4, in_channels=64, out_channels=4)
    busy = 64 * 4 * 8 / 15.5  # each of four cores, or of eight, makes four numbers of 64 products
    for layer in (few, many):
        ends = ((layer.rows + 1) * 4 * 64) / 8
        assert busy < layer_cycles(layer) < busy + ends + 200


def test_a_depthwise_layer_is_slower_than_its_multiplications_tell() -> None:
    depthwise = Layer(32, 32, 64, 64, (3, 3), groups=64)
    assert layer_cycles(depthwise) >= depthwise.macs / 4
    assert layer_cycles(depthwise) < 1.1 * depthwise.macs / 4


@pytest.mark.parametrize(
    ("layer", "side"),
    [
        (Layer(8, 8, 4, 4, (3, 3)), 10),
        (Layer(8, 8, 4, 4, (3, 3), stride=(2, 2)), 17),
        (Layer(8, 8, 4, 4, (3, 3), dilation=(6, 6)), 20),
    ],
)
def test_how_much_of_the_input_a_tile_needs(layer: Layer, side: int) -> None:
    assert layer.input_side(8, 0) == side  # type: ignore[arg-type] # a number will do


def test_what_exceeds_l1_is_cut() -> None:
    wide = Layer(1, 1, in_channels=40_000, out_channels=10)  # not one channel of the output fits
    assert wide.macs / 8 < layer_cycles(wide) < wide.macs * 8 / 15.5  # between the DMA and a core alone
    large = Layer(200, 200, 128, 128, (3, 3))
    assert large.macs / 15.5 <= layer_cycles(large) < 1.2 * large.macs / 15.5


def test_what_multiplies_nothing_is_bound_by_loads_or_by_the_dma() -> None:
    assert plain_cycles(800, 400, 800) == 800 / 2 + 20
    assert plain_cycles(4000, 0, 100) == 4000 / 8 + 20


def mobilenet() -> list[Layer]:
    """MobileNet 1.0 on 128x128 pixels (without its pooling)."""
    layers, side, width = [Layer(64, 64, 3, 32, (3, 3), (2, 2))], 64, 32
    blocks = [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ]
    for channels, stride in blocks:
        side //= stride
        layers.append(Layer(side, side, width, width, (3, 3), (stride, stride), groups=width))
        layers.append(Layer(side, side, width, channels))
        width = channels
    return [*layers, Layer(1, 1, 1024, 1000)]


class Mobilenet(nn.Module):
    """The same layers as a network, of which the classifier is a linear one."""

    def __init__(self) -> None:
        super().__init__()
        made: list[nn.Module] = []
        for layer in mobilenet()[:-1]:
            padding = layer.kernel[0] // 2
            made += [
                nn.Conv2d(
                    layer.in_channels,
                    layer.out_channels,
                    layer.kernel,
                    layer.stride,
                    padding,
                    groups=layer.groups,
                    bias=False,
                ),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*made)
        self.head = nn.Linear(1024, 1000)

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.head(self.body(images).amax(dim=(2, 3)))
        return output


def test_mobilenet_takes_as_long_as_was_published() -> None:
    graph = static_graph(export_onnx(Mobilenet().eval(), (3, 128, 128)))
    assert sum(layer.macs for layer in mobilenet()) == 186_400_768
    assert 100e6 / model_cycles(graph) == pytest.approx(4.3, rel=0.02)  # Burrello 2021
    pooling = plain_cycles(16 * 1024, 1024, 16 * 1024)
    layers = sum(map(layer_cycles, mobilenet())) + pooling
    assert model_cycles(graph) == pytest.approx(1.77 * layers)


def measured(objective: ModelledGap8Ms, module: nn.Module, shape: tuple[int, ...]) -> float:
    bench = Bench(Split(torch.zeros(1, *shape), torch.zeros(1)), False, objective.calibrate())
    (found,) = objective.measure([SubnetCandidate(module, shape)], bench)
    assert "modelled" in found.device
    return found.value


def test_milliseconds_follow_the_clock() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten())
    slow, fast = (measured(ModelledGap8Ms(megahertz), module, (3, 8, 8)) for megahertz in (50, 200))
    assert slow == pytest.approx(4 * fast)


def test_attention_counts() -> None:
    class Attention(nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            return (tokens @ tokens.transpose(1, 2)).softmax(dim=2) @ tokens

    longer = [model_cycles(static_graph(export_onnx(Attention(), (length, 64)))) for length in (32, 64)]
    assert longer[1] > 2.5 * longer[0]


def test_an_int8_file_takes_as_long_as_the_float_one() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    model = export_onnx(module.eval(), (3, 8, 8))
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    small = quantize(model, [images], reduce_range=True)
    assert model_cycles(static_graph(model)) == model_cycles(static_graph(small))


def test_what_the_model_does_not_know_is_told() -> None:
    with pytest.raises(EvaluationError, match="says nothing of operator ConvTranspose, which is called '/0/"):
        measured(ModelledGap8Ms(), nn.Sequential(nn.ConvTranspose2d(3, 4, 2)), (3, 4, 4))


def test_the_contract_is_kept() -> None:
    check_measured_objective(ModelledGap8Ms())
    assert ModelledGap8Ms().objective.name.startswith("modelled")


@pytest.mark.parametrize("megahertz", [0, -1.0, float("nan"), float("inf")])
def test_clocks_without_sense_are_refused(megahertz: Any) -> None:
    with pytest.raises(StudyError, match="megahertz="):
        ModelledGap8Ms(megahertz)
