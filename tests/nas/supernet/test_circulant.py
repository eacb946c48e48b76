from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.choices import choice
from nas.errors import SpaceError
from nas.evaluation.candidate import OnnxCandidate
from nas.evaluation.counts import count_macs, count_params
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.reinitialize import reinitialize
from nas.evaluation.stored import count_stored_bytes
from nas.supernet import Supernet, elastic
from nas.supernet.circulant import block_size, expand, project, vectors_shape
from nas.supernet.circulant_layers import CirculantConv2d, CirculantLinear

SHAPES = [(24, 32, 8), (16, 16, 1), (10, 13, 4), (3, 5, 8), (8, 4, 4), (6, 9, 3)]
"""Rows, columns and size of the blocks."""


def entry_by_entry(vectors: Tensor, rows: int, columns: int) -> Tensor:
    """Return what :func:`expand` should, by the definition."""
    size = vectors.shape[2]
    matrix = vectors.new_empty(rows, columns)
    for a in range(rows):
        for b in range(columns):
            matrix[a, b] = vectors[a // size, b // size, (a - b) % size]
    return matrix


@pytest.mark.parametrize(("rows", "columns", "size"), SHAPES)
def test_vectors_expand_to_a_matrix_of_circulant_blocks(rows: int, columns: int, size: int) -> None:
    vectors = torch.randn(vectors_shape(rows, columns, size))
    assert torch.equal(expand(vectors, rows, columns), entry_by_entry(vectors, rows, columns))


@pytest.mark.parametrize("fourier", [False, True])
@pytest.mark.parametrize(("rows", "columns", "size"), SHAPES)
def test_a_layer_equals_the_dense_one_of_the_same_matrix(
    rows: int, columns: int, size: int, fourier: bool
) -> None:
    layer = CirculantLinear(columns, rows, size, fourier=fourier)
    dense = nn.Linear(columns, rows)
    with torch.no_grad():
        dense.weight.copy_(entry_by_entry(layer.weight, rows, columns))
        dense.bias.copy_(layer.bias)  # type: ignore[arg-type]
    for shape in ((5, columns), (2, 3, columns)):
        inputs = torch.randn(shape)
        torch.testing.assert_close(layer(inputs), dense(inputs), rtol=0, atol=1e-6)


@pytest.mark.parametrize("fourier", [False, True])
def test_gradients_are_those_of_the_dense_layer(fourier: bool) -> None:
    layer = CirculantLinear(12, 8, 4, fourier=fourier).double()
    inputs = torch.randn(5, 12, dtype=torch.float64)
    layer(inputs).square().sum().backward()
    matrix = expand(layer.weight, 8, 12).detach().requires_grad_(True)
    nn.functional.linear(inputs, matrix, layer.bias).square().sum().backward()
    assert matrix.grad is not None
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, 4 * project(matrix.grad, 4))  # sums along the diagonals


def test_a_convolution_equals_the_dense_one_at_each_place_of_the_kernel() -> None:
    layer = CirculantConv2d(10, 12, (3, 2), 4, stride=(2, 1), padding=(1, 0), dilation=(1, 2))
    weight = torch.stack(
        [entry_by_entry(layer.weight[..., place], 12, 10) for place in range(6)], 2
    ).unflatten(2, (3, 2))
    images = torch.randn(2, 10, 9, 8)
    expected = nn.functional.conv2d(images, weight, layer.bias, (2, 1), (1, 0), (1, 2))
    torch.testing.assert_close(layer(images), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rows", "columns", "size"), SHAPES)
def test_the_projection_is_nearest_by_least_squares(rows: int, columns: int, size: int) -> None:
    """What is left is orthogonal to every block-circulant matrix."""
    matrix = torch.randn(rows, columns, dtype=torch.float64)
    nearest = expand(project(matrix, size), rows, columns)
    shape = vectors_shape(rows, columns, size)
    for unit in torch.eye(math.prod(shape), dtype=torch.float64):
        direction = expand(unit.reshape(shape), rows, columns)
        assert ((matrix - nearest) * direction).sum().abs() < 1e-12
    assert torch.allclose(expand(project(nearest, size), rows, columns), nearest)


@pytest.mark.parametrize("fourier", [False, True])
def test_an_exported_layer_stores_the_vectors_alone(fourier: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(CirculantLinear(256, 128, 16, fourier=fourier), nn.ReLU()).eval()
    file = export_onnx(network, (256,))
    held = 4 * count_params(network)
    assert held == 4 * (256 * 128 // 16 + 128)
    transforms = 3 * 4 * 16 * 18 if fourier else 0  # there, for inputs and for weights, and back
    assert held <= count_stored_bytes(file) < held + transforms + 500  # shapes and the like
    assert len(file) < count_stored_bytes(file) + 6_000  # the graph
    inputs = torch.randn(3, 256)
    assert torch.allclose(OnnxCandidate(file).predict(inputs), network(inputs), atol=1e-5)


def test_an_exported_convolution_stores_the_vectors_alone() -> None:
    network = nn.Sequential(CirculantConv2d(32, 64, (3, 3), 8, padding=(1, 1))).eval()
    file = export_onnx(network, (32, 6, 6))
    assert count_stored_bytes(file) < 4 * count_params(network) + 500
    images = torch.randn(3, 32, 6, 6)
    assert torch.allclose(OnnxCandidate(file).predict(images), network(images), atol=1e-5)


def test_products_of_spectra_are_counted_and_fewer() -> None:
    """Blocks of 16 of a 256 x 256 matrix: transforms of 16 vectors each way, and 9 complex products of 16 x 16."""
    dense, spectra = (CirculantLinear(256, 256, 16, fourier=fourier).eval() for fourier in (False, True))
    assert count_macs(dense, (256,)) == 256 * 256
    assert count_macs(spectra, (256,)) == 2 * (16 * 16 * 18) + 9 * 4 * 16 * 16


MAKERS: list[tuple[Any, tuple[int, ...]]] = [
    (lambda size: elastic.Linear(choice("i", 8, 12), choice("o", 10, 16), block_size=size), (12,)),
    (
        lambda size: elastic.Conv2d(
            choice("i", 8, 12), choice("o", 10, 16), choice("k", 1, 3), padding="same", block_size=size
        ),
        (12, 5, 5),
    ),
]


@pytest.mark.parametrize(("make", "shape"), MAKERS)
@pytest.mark.parametrize("size", ["4", "2", "1"])
def test_all_sizes_share_one_weight_and_each_uses_the_nearest(
    make: Any, shape: tuple[int, ...], size: str
) -> None:
    layer = make(block_size("k of blocks", 4, 2, 1))
    supernet = Supernet(nn.Sequential(layer)).eval()
    assert supernet.space.largest()["k of blocks"] == "1"
    architecture = supernet.space.architecture({**supernet.space.largest(), "k of blocks": size})
    plain = supernet.extract(architecture)
    assert isinstance(plain, nn.Sequential)
    inputs = torch.randn(2, *shape)
    with supernet.active(architecture):
        torch.testing.assert_close(supernet(inputs), plain(inputs))
        assert layer.num_active_params() == count_params(plain)
    if size == "1":
        assert type(plain[0]) in (nn.Linear, nn.Conv2d)
    else:
        assert isinstance(plain[0], CirculantLinear | CirculantConv2d)
        weight = layer.weight.flatten(2) if layer.weight.ndim > 2 else layer.weight
        assert torch.equal(plain[0].weight, project(weight, int(size)))


def test_fresh_weights_have_the_spread_of_torchs() -> None:
    network = nn.Sequential(CirculantLinear(1024, 512, 8))
    reinitialize(network, 1)
    expected = nn.Linear(1024, 512).weight.std()
    assert torch.allclose(network[0].weight.std(), expected, rtol=0.05)  # type: ignore[operator]


@pytest.mark.parametrize("sizes", [(), (1, 2), (4, 4, 1), (0,), (2.5, 1), (True,), ("8", 1)])
def test_sizes_that_are_none_are_refused_with_an_example(sizes: Any) -> None:
    with pytest.raises(SpaceError, match=r"choice 'k' has the block sizes .* such as 16, 8, 4, 2, 1"):
        block_size("k", *sizes)


def test_a_convolution_has_blocks_or_groups() -> None:
    with pytest.raises(SpaceError, match="has no groups"):
        elastic.Conv2d(8, 8, 3, groups=8, block_size=block_size("k", 4, 1))
    with pytest.raises(SpaceError, match="positive integer"):
        elastic.Linear(8, 8, block_size=0)
