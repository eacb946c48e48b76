from __future__ import annotations

from functools import partial

import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from nas.evaluation.onnx_export import export_onnx
from nas.inputs import InputSpec
from nas.supernet import Supernet
from nas.tasks import Classification
from nas.testing import check_network
from search_spaces.recurrent import recurrent_rows, recurrent_text

ROWS = (partial(recurrent_rows, classes=10), InputSpec.of_one((1, 8, 8)))
TEXT = (partial(recurrent_text, classes=3, num_tokens=40), InputSpec.of_one((9,), torch.int64))


def test_the_contract_is_kept_by_rows() -> None:
    check_network(partial(ROWS[0], scale=0.5), ROWS[1], Classification(10), num_random=1)


def test_the_contract_is_kept_by_sentences() -> None:
    check_network(partial(TEXT[0], scale=0.25), TEXT[1], Classification(3), num_random=1, num_tokens=40)


@pytest.mark.parametrize(("made", "count"), [(ROWS[0], 84), (TEXT[0], 240)])
def test_the_cardinality_is_what_the_docstring_says(made: partial[nn.Module], count: int) -> None:
    assert Supernet(made()).space.cardinality() == count


@pytest.mark.parametrize(("made", "cell"), [(ROWS, "lstm"), (TEXT, "gru")])
def test_the_exported_file_says_the_same_for_any_batch(
    made: tuple[partial[nn.Module], InputSpec], cell: str, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    supernet = Supernet(made[0]()).eval()
    plain = supernet.extract(supernet.space.architecture({**supernet.space.largest(), "cell": cell}))
    session = ort.InferenceSession(export_onnx(plain, made[1]))
    assert "exporter" not in caplog.text
    for count in (1, 5):
        inputs = _inputs(made[1], count)
        with torch.no_grad():
            expected = plain(inputs)
        got = torch.from_numpy(session.run(None, {"images": inputs.numpy()})[0])
        assert torch.allclose(expected, got, atol=1e-5)


def _inputs(spec: InputSpec, count: int) -> Tensor:
    (shape,) = spec.shapes
    if spec.dtypes[0] == torch.int64:
        return torch.randint(0, 40, (count, *shape))
    return torch.randn(count, *shape)


def test_padding_changes_nothing_where_it_is_read_last() -> None:
    torch.manual_seed(0)
    supernet = Supernet(TEXT[0]()).eval()
    plain = supernet.extract(supernet.space.architecture({**supernet.space.largest(), "directions": 1}))
    with torch.no_grad():
        short, long = (plain(torch.tensor([[5, 6, 7] + [0] * count])) for count in (1, 6))
    assert torch.allclose(short, long, atol=1e-6)
