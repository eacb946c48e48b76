from __future__ import annotations

from functools import partial

import onnxruntime as ort
import pytest
import torch
from torch import nn

from nas.errors import SpaceError
from nas.evaluation.counts import count_macs
from nas.evaluation.onnx_export import export_onnx
from nas.inputs import InputSpec
from nas.supernet import Supernet
from nas.tasks import Classification
from nas.testing import check_network
from search_spaces.evolved_transformer import evolved_transformer, make_known_cell
from search_spaces.text_transformer import text_transformer

FORM = InputSpec.of_one((9,), torch.int64)
NETWORK = partial(evolved_transformer, classes=3, num_tokens=40, length=9, scale=0.5, cells=1)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(evolved_transformer(classes=3, num_tokens=40, length=9, scale=0.5, cells=2)).eval()


def test_the_contract_is_kept() -> None:
    check_network(NETWORK, FORM, Classification(3), num_random=1, num_tokens=40)


def test_the_cardinality_is_what_the_docstring_says() -> None:
    assert f"{Supernet(evolved_transformer(classes=2)).space.cardinality():.1e}" == "6.7e+20"


def test_the_plain_transformer_is_in_the_space(supernet: Supernet) -> None:
    of_text = Supernet(text_transformer(classes=3, num_tokens=40, length=9)).eval()
    blocks = {f"block{n}.{name}": value for n in range(6) for name, value in (("heads", 2), ("mlp_ratio", 4))}
    wanted = of_text.space.architecture({"width": 32, "depth": 2, **blocks})
    transformer = supernet.space.architecture(make_known_cell("transformer", width=32, cells=2))
    expected, got = of_text.extract(wanted), supernet.extract(transformer)
    pairs = list(zip(expected.parameters(), got.parameters(), strict=True))
    assert [a.shape for a, _ in pairs] == [b.shape for _, b in pairs]
    for given, own in pairs:
        own.data.copy_(given.data)
    ids = torch.randint(0, 40, (5, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(expected(ids), got(ids), atol=1e-6)
    assert count_macs(expected, FORM) == count_macs(got, FORM)


def test_the_evolved_cell_costs_less_than_two_layers_of_the_transformer(supernet: Supernet) -> None:
    cells = [make_known_cell("evolved", 64, 1), make_known_cell("transformer", 64, 2)]
    architectures = [supernet.space.architecture(cell) for cell in cells]
    evolved, transformer = (count_macs(supernet.extract(one), FORM) for one in architectures)
    assert 0.85 * transformer < evolved < transformer


def test_padding_changes_nothing(supernet: Supernet) -> None:
    network = supernet.extract(supernet.space.architecture(make_known_cell("evolved", 32, 2)))
    ids = torch.tensor([[5, 6, 7, 0, 0, 0, 0, 0, 0]])
    with torch.no_grad():
        before = network(ids)
        for layer in (network.embedding, network.positions):
            weight = layer.weight
            weight[0 if isinstance(layer, nn.Embedding) else slice(3, None)] += 1
        assert torch.allclose(before, network(ids), atol=1e-5)


@pytest.mark.parametrize("combiner", ["add", "multiply"])
def test_the_exported_file_says_the_same(
    supernet: Supernet, combiner: str, caplog: pytest.LogCaptureFixture
) -> None:
    cell = {**make_known_cell("evolved", 32, 1), "stage1.combiner": combiner}
    plain = supernet.extract(supernet.space.architecture(cell))
    session = ort.InferenceSession(export_onnx(plain, FORM))
    assert "exporter failed" not in caplog.text
    ids = torch.randint(0, 40, (5, 9))
    with torch.no_grad():
        expected = plain(ids)
    got = torch.from_numpy(session.run(None, {"images": ids.numpy()})[0])
    assert torch.allclose(expected, got, atol=1e-5)


def test_a_cell_that_is_not_known_is_a_sentence() -> None:
    with pytest.raises(SpaceError, match="is expected"):
        make_known_cell("perceiver", 32, 1)  # type: ignore[arg-type]
